use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::request::Parameters;
use super::{App, Problem};
use crate::store::{Books, Totals};

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    reference: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct BooksAnswer {
    entries: Vec<Books>,
    /// Where the next page begins; absent on the last one.
    next: Option<String>,
    /// Sums over everything, per currency; on the first page of a full listing only.
    totals: Option<Vec<Totals>>,
}

const LIMIT_DEFAULT: i64 = 1_000;
const LIMIT_MAX: i64 = 10_000;

/// `GET /v1/books?reference=…` or `GET /v1/books?after=…&limit=…`
pub(super) async fn list(
    State(app): State<App>,
    Parameters(page): Parameters<Page>,
) -> Result<Json<BooksAnswer>, Problem> {
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(
            "invalid_request",
            format!("limit is 1 to {LIMIT_MAX}"),
        ));
    }
    if let Some(reference) = page.reference {
        let entries = app.store.books_of(&reference).await?;
        return Ok(Json(BooksAnswer {
            entries,
            next: None,
            totals: None,
        }));
    }
    let totals = if page.after.is_none() {
        Some(app.store.totals().await?)
    } else {
        None
    };
    // One more tells whether there is a next page. No reference is empty, so all come after that.
    let mut entries = app
        .store
        .books(page.after.as_deref().unwrap_or_default(), limit + 1)
        .await?;
    let next = cut(&mut entries, limit);
    Ok(Json(BooksAnswer {
        entries,
        next,
        totals,
    }))
}

/// Cuts the entries after `limit` references (a reference has one entry per currency), and says after which
/// one the next page begins.
fn cut(entries: &mut Vec<Books>, limit: i64) -> Option<String> {
    let mut references = 0;
    let mut last: Option<String> = None;
    for index in 0..entries.len() {
        if last.as_ref() != Some(&entries[index].reference) {
            if references == limit {
                entries.truncate(index);
                return last;
            }
            references += 1;
            last = Some(entries[index].reference.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reference: &str, currency: &str) -> Books {
        Books {
            reference: reference.to_owned(),
            currency: currency.to_owned(),
            captured_minor: 1,
            refunded_minor: 0,
            charges: 1,
            declined: 0,
            refunds: 0,
        }
    }

    #[test]
    fn a_page_ends_between_references() {
        let all = vec![entry("a", "EUR"), entry("a", "USD"), entry("b", "EUR")];
        let mut entries = all.clone();
        assert_eq!(cut(&mut entries, 1).as_deref(), Some("a"));
        assert_eq!(entries, all[..2]);
        let mut entries = all.clone();
        assert_eq!(cut(&mut entries, 2), None);
        assert_eq!(entries, all);
    }
}
