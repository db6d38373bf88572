//! Putting threads to sleep and waking the right one: parker, idle protocol, event count, thread pool.
