//! Downloads of parts.

use futures_util::StreamExt;

use super::bench::{Bench, admin};
use crate::domain::*;

async fn bytes(bench: &Bench, part: PartId, stem: &str, range: std::ops::Range<u64>) -> Vec<u8> {
    let download = bench.engine.open_download(&admin(), part, stem).await.unwrap();
    let mut stream = Box::pin(download.stream(range));
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        assert!(piece.len() <= 256 << 10);
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_the_recorded_length_and_its_ranges_are_those_of_the_whole() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let part = &backup.parts[0];
    let download = bench.engine.open_download(&admin(), part.id, "photos").await.unwrap();
    let (length, etag) = (download.length, download.etag.clone());
    assert_eq!(Some(length), part.download_size);
    let whole = bytes(&bench, part.id, "photos", 0..length).await;
    assert_eq!(whole.len() as u64, length);
    assert_eq!(&whole[..2], [0x1f, 0x8b], "gzip");
    for range in [0..1, 0..0, 100..5000, 299_000..320_000, length - 1..length, 0..length] {
        let part = bytes(&bench, part.id, "photos", range.clone()).await;
        assert_eq!(
            part,
            &whole[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()],
            "{range:?}"
        );
    }
    let again = bench.engine.open_download(&admin(), part.id, "photos").await.unwrap();
    assert_eq!(again.etag, etag);
    let other = bench.engine.open_download(&admin(), part.id, "other").await.unwrap();
    assert_ne!(other.etag, etag);
    for stem in ["", "a/b", "a b", &"x".repeat(91)] {
        assert!(bench.engine.open_download(&admin(), part.id, stem).await.is_err(), "{stem:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_refused_when_the_store_is_away() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
    let refused = bench.engine.open_download(&admin(), backup.parts[0].id, "photos").await.err().unwrap();
    assert!(matches!(refused.code, ErrorCode::StoreUnavailable | ErrorCode::Damaged), "{refused:?}");
}
