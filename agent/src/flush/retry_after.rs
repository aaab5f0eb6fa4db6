//! `Retry-After`: the wait a collector, or a proxy before it, asks for, in seconds or as a date.
//!
//! A date is measured against the reply's own `Date`, so that it does not matter whether this host's clock is right. What
//! names no wait is passed over; how long a named wait is believed is the business of [`super::backoff`].

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait that the headers of a reply ask for.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(text)?;
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    // A moment that is over asks for no wait.
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE_OF_REPLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn check(retry: &str, date: Option<&str>, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().expect("a header"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header"));
        }
        let expected = expected.map(Duration::from_secs);
        assert_eq!(retry_after(&headers), expected, "{retry} at {date:?}");
    }

    #[test]
    fn a_wait_is_named_in_seconds_or_as_a_date() {
        check("0", None, Some(0));
        check(" 120 ", None, Some(120));
        check(
            "Sun, 06 Nov 1994 08:50:07 GMT",
            Some(DATE_OF_REPLY),
            Some(30),
        );
        check(
            "Sun, 06 Nov 1994 08:00:00 GMT",
            Some(DATE_OF_REPLY),
            Some(0),
        );
        check(
            "Mon, 07 Nov 1994 08:49:37 GMT",
            Some(DATE_OF_REPLY),
            Some(86_400),
        );
    }

    #[test]
    fn what_names_no_wait_is_passed_over() {
        for text in ["", "soon", "-1", "1.5", "99999999999999999999"] {
            check(text, Some(DATE_OF_REPLY), None);
        }
        check("Sun, 06 Nov 1994 08:50:07 GMT", None, None);
        check("Sun, 06 Nov 1994 08:50:07 GMT", Some("today"), None);
    }
}
