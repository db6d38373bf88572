//! Local run queues for work-stealing schedulers: one owner, many thieves.
