//! A Go-style work-stealing scheduler made of parts that can be used one by one.
