//! Panics that are part of a test, without their messages.

/// Runs `f` without the default message for each panic on this thread.
pub(crate) fn quietly(f: impl FnOnce()) {
    use std::cell::Cell;
    use std::sync::Once;
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get()
                || info
                    .payload_as_str()
                    .is_some_and(|text| text.contains("assert"))
            {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    f();
    QUIET.set(false);
}
