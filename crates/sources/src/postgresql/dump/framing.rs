//! How bytes lie in the data blocks of an archive, and their checksum there.

use crate::archive::RunningCrc;

/// Content of one piece of rows in an archive that we put together, bytes; only the last one of a stream is shorter.
/// `pg_restore` holds one in memory.
pub(in crate::postgresql) const PIECE_BYTES: u64 = 256 * 1024;
/// A sign byte and four bytes.
pub(super) const INTEGER_BYTES: u64 = 5;

/// An integer as archives have it.
pub(super) fn integer(value: i32) -> [u8; INTEGER_BYTES as usize] {
    let [a, b, c, d] = value.unsigned_abs().to_le_bytes();
    [u8::from(value < 0), a, b, c, d]
}

/// The length before a piece of content. Pieces are far below the format's limit of 2 GiB.
pub(super) fn piece_header(length: u64) -> [u8; INTEGER_BYTES as usize] {
    integer(i32::try_from(length).unwrap_or(i32::MAX))
}

/// Bytes that a stream of rows takes in an archive: each stream is a run of pieces of its own.
pub(in crate::postgresql) fn framed_length(length: u64) -> u64 {
    length + length.div_ceil(PIECE_BYTES) * INTEGER_BYTES
}

/// The CRC-32 of a stream of rows as it will lie in the archive, taken while the bytes pass once.
///
/// The length before a piece is known when the piece is complete, so its checksum is put before the piece's by arithmetic.
/// That is all a capture must record, whatever the length of the stream.
#[derive(Clone, Default)]
pub(in crate::postgresql) struct PieceSums {
    framed: RunningCrc,
    piece: crc32fast::Hasher,
    piece_length: u64,
}

impl PieceSums {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the stream, in portions of any size.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(PIECE_BYTES - self.piece_length).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.piece.update(now);
            self.piece_length += now.len() as u64;
            bytes = rest;
            if self.piece_length == PIECE_BYTES {
                self.end_piece();
            }
        }
    }

    /// `framed_crc32` of the range.
    pub fn finish(mut self) -> u32 {
        if self.piece_length > 0 {
            self.end_piece();
        }
        self.framed.value()
    }

    fn end_piece(&mut self) {
        self.framed.append_bytes(&piece_header(self.piece_length));
        self.framed.append(std::mem::take(&mut self.piece).finalize(), self.piece_length);
        self.piece_length = 0;
    }
}

/// What stands between the bytes of large objects: for each object [`Self::begin`], then any number of
/// [`Self::piece`] with as many bytes of content after it, then [`Self::END`]; after the last object [`Self::END`] again.
pub(in crate::postgresql) struct LargeObjectFraming;

impl LargeObjectFraming {
    /// Ends an object, and ends the payload of an entry.
    pub const END: [u8; INTEGER_BYTES as usize] = [0; INTEGER_BYTES as usize];

    /// Numbers from 2^31 on are written as negative ones, as `pg_dump` does.
    pub fn begin(oid: u32) -> [u8; INTEGER_BYTES as usize] {
        integer(oid.cast_signed())
    }

    /// Before `length` bytes of content; not for an empty piece, which would be an end.
    pub fn piece(length: u32) -> [u8; INTEGER_BYTES as usize] {
        piece_header(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_framed_stream_does_not_depend_on_how_it_passed() {
        let piece = PIECE_BYTES as usize;
        for length in [0, 1, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 17] {
            let stream: Vec<u8> = (0..length).map(|index| (index * 31 % 251) as u8).collect();
            let mut framed = Vec::new();
            for content in stream.chunks(piece) {
                framed.extend(piece_header(content.len() as u64));
                framed.extend(content);
            }
            assert_eq!(framed.len() as u64, framed_length(length as u64));
            for portion in [1 + length / 7, 4096, piece, 5 * piece] {
                let mut sums = PieceSums::new();
                stream.chunks(portion).for_each(|bytes| sums.update(bytes));
                assert_eq!(sums.finish(), crc32fast::hash(&framed), "{length} bytes in portions of {portion}");
            }
        }
    }

    #[test]
    fn numbers_of_large_objects_are_signed_as_pg_dump_writes_them() {
        assert_eq!(LargeObjectFraming::begin(16_384), [0, 0, 64, 0, 0]);
        assert_eq!(LargeObjectFraming::begin(u32::MAX), [1, 1, 0, 0, 0]);
        assert_eq!(LargeObjectFraming::begin(1 << 31), [1, 0, 0, 0, 128]);
    }
}
