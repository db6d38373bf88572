//! Global run queues for schedulers: many producers, many consumers, batches both ways.
