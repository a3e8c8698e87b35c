//! Turns panics in third-party code into errors: a file that triggers one must not end the program.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a panic of this thread would be caught and returned as an error. Then a panic hook need not report
/// it.
pub fn are_caught() -> bool {
    CAUGHT.get()
}

/// Returns the result of `work`, or the message of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    done.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        said.unwrap_or("without a message").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_message_and_is_known_to_be_caught() {
        assert_eq!(caught(|| (3, are_caught())), Ok((3, true)));
        for outer in [false, true] {
            let inner = || caught(|| -> i32 { panic!("axis {} of 4", 5) });
            let said = match outer {
                true => caught(|| (inner(), are_caught())).unwrap(),
                false => (inner(), true),
            };
            assert_eq!(said, (Err("axis 5 of 4".to_owned()), true));
            assert!(!are_caught());
        }
    }
}
