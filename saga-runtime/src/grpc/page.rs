use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Violations;

const SIZE_DEFAULT: i64 = 50;
const SIZE_MAX: i64 = 200;

/// How many rows a page has: 50 if nobody says, 200 at most.
pub fn page_size(asked: i32, violations: &mut Violations) -> i64 {
    match asked {
        0 => SIZE_DEFAULT,
        1.. => i64::from(asked).min(SIZE_MAX),
        _ => {
            violations.add("page_size", "has to be at least 0");
            SIZE_DEFAULT
        }
    }
}

/// Where a list goes on, as text that means nothing to the caller.
///
/// The token carries a sum over itself and the list's filters, so that one that was cut off, made up, or belongs to
/// another list is refused instead of showing a page of something else. It is no secret and grants nothing.
#[derive(Clone, Copy, Debug)]
pub struct PageToken<'f> {
    /// The list and its filters.
    pub list: &'f [&'f str],
}

const SUM_BYTES: usize = 8;

impl PageToken<'_> {
    /// The token for a place in the list.
    pub fn write(&self, place: &[u8]) -> String {
        let mut bytes = self.sum(place).to_vec();
        bytes.extend_from_slice(place);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token stands for; `None` if it is none of this list's.
    pub fn read(&self, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (sum, place) = bytes.split_at_checked(SUM_BYTES)?;
        (sum == self.sum(place)).then(|| place.to_vec())
    }

    fn sum(&self, place: &[u8]) -> [u8; SUM_BYTES] {
        let mut hash = Sha256::new();
        for part in self.list {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(place);
        let mut sum = [0; SUM_BYTES];
        sum.copy_from_slice(&hash.finalize()[..SUM_BYTES]);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_on_in_its_own_list_only() {
        let list = PageToken {
            list: &["orders", "ann", ""],
        };
        let token = list.write(b"here");
        assert_eq!(list.read(&token).as_deref(), Some(b"here".as_slice()));
        assert_eq!(
            PageToken {
                list: &["orders", "", "ann"]
            }
            .read(&token),
            None
        );
    }

    #[test]
    fn what_is_no_token_is_none() {
        let list = PageToken { list: &["orders"] };
        let token = list.write(b"here");
        for wrong in ["", "A", "AAAA", "äöü", &token[1..], &token[..token.len() - 2]] {
            assert_eq!(list.read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_page_has_at_most_two_hundred_rows() {
        let mut violations = Violations::default();
        assert_eq!(page_size(0, &mut violations), 50);
        assert_eq!(page_size(7, &mut violations), 7);
        assert_eq!(page_size(i32::MAX, &mut violations), 200);
        assert!(violations.is_empty());
        page_size(-1, &mut violations);
        assert!(!violations.is_empty());
    }
}
