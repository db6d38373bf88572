//! The smallest program: a scheduler, a task, its value.
//!
//! `cargo run --release -p stealyard --example hello`
#![expect(clippy::print_stdout, reason = "an example prints")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = stealyard::Scheduler::new()?;
    let answer = scheduler.block_on(async {
        let task = stealyard::spawn(async { 6 * 7 });
        task.await
    })?;
    println!("{} workers say {answer}", scheduler.parallelism());
    Ok(())
}
