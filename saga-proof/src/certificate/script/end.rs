use std::collections::BTreeMap;

/// How each part has it in the end.
pub(super) type End = BTreeMap<&'static str, &'static str>;

/// Reads `desk settled, hotel cancelled`; `None` if it is not like that, or names a part twice.
pub(super) fn read(text: &'static str) -> Option<End> {
    let mut end = End::new();
    for one in text.split(',') {
        let mut words = one.split_whitespace();
        let (part, state) = (words.next()?, words.next()?);
        if words.next().is_some() || end.insert(part, state).is_some() {
            return None;
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_parts_with_their_states() {
        let end: End = [("desk", "settled"), ("hotel", "cancelled")].into();
        assert_eq!(read("desk settled, hotel cancelled"), Some(end));
        for wrong in [
            "",
            "desk",
            "desk settled hotel",
            "desk settled,",
            "desk settled, desk kept",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
