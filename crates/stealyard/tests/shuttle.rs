//! Whole schedulers under seeded schedules. Each scenario is named; a schedule that fails is
//! printed with the command that runs it again (`cargo xtask verify --replay SCENARIO:SCHEDULE`).
//! Each folder file says its goal and method.
#![cfg(stealyard_shuttle)]

#[path = "shuttle/ledger.rs"]
mod ledger;
#[path = "shuttle/life.rs"]
mod life;
#[path = "shuttle/meeting.rs"]
mod meeting;
#[path = "shuttle/work.rs"]
mod work;
