//! The machine as a value: packages, NUMA nodes, caches, cores, CPUs; placement, pinning and CPU limits.
