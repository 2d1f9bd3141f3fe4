//! "Did you mean": the nearest valid name for one that was mistyped.

/// The nearest of `candidates`, if it is near enough to be worth suggesting.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Makes serde's "unknown field `x`, expected one of `a`, `b`" into a sentence that names the nearest valid key.
pub fn explain_unknown_field(message: &str) -> Option<String> {
    let rest = message.split_once("unknown field `")?.1;
    let (typed, rest) = rest.split_once('`')?;
    let candidates: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let sentence = match nearest(typed, candidates.iter().copied()) {
        Some(near) => format!("`{typed}` is not a key here. Did you mean `{near}`?"),
        None => format!("`{typed}` is not a key here. Known are: {}.", candidates.join(", ")),
    };
    Some(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_strange_one_is_not_guessed() {
        assert_eq!(nearest("listners", ["listeners", "stores"]), Some("listeners"));
        assert_eq!(nearest("xyzzy", ["listeners", "stores"]), None);
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_or_all_valid_ones() {
        let message = "unknown field `pubic_url`, expected one of `public_url`, `stores`";
        assert_eq!(
            explain_unknown_field(message).unwrap(),
            "`pubic_url` is not a key here. Did you mean `public_url`?"
        );
        let message = "unknown field `qqqqqqqq`, expected `name` or `kind`";
        assert_eq!(explain_unknown_field(message).unwrap(), "`qqqqqqqq` is not a key here. Known are: name, kind.");
    }
}
