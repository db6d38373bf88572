// oneTBB's part of `cargo xtask bench`: the workloads of src/workload, as its users write them.
//
// It reads lines of a workload's name and how often to repeat it, and answers each with a line of what that took
// in nanoseconds and for how many operations. It ends with its input. TBB_PEER_WORKERS is how many threads run
// tasks; where work is begun inside, the thread that begins it is one of them, as oneTBB has it.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_invoke.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <oneapi/tbb/version.h>

namespace {

using Run = std::pair<double, std::uint64_t>;

// Tasks spawned before they are waited for.
constexpr std::uint64_t batch = 1000;
constexpr std::uint64_t fib_of = 25;
constexpr std::uint64_t fib_is = 75'025;
constexpr std::uint64_t fib_joins = 242'784;

[[noreturn]] void fail(const std::string& why) {
    std::cerr << "oneTBB peer: " << why << '\n';
    std::exit(1);
}

int workers() {
    const char* said = std::getenv("TBB_PEER_WORKERS");
    const int count = said == nullptr ? 0 : std::atoi(said);
    if (count < 1) {
        fail("TBB_PEER_WORKERS is not a number from 1");
    }
    return count;
}

// For work begun inside: the beginner is one of the threads.
oneapi::tbb::task_arena& inside() {
    static oneapi::tbb::task_arena arena(workers(), 1);
    return arena;
}

// For work from outside: no place is kept for the thread that submits.
oneapi::tbb::task_arena& outside() {
    static oneapi::tbb::task_arena arena(workers(), 0);
    return arena;
}

template <typename Work>
Run timed(std::uint64_t operations, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    return {took.count(), operations};
}

std::uint64_t rounds_of(std::uint64_t repetitions) {
    return (repetitions + batch - 1) / batch;
}

// A task gives its result through memory that its joiner owns, for there are no results here.
Run spawn_join(std::uint64_t repetitions) {
    const std::uint64_t rounds = rounds_of(repetitions);
    std::vector<std::uint64_t> results(batch);
    std::uint64_t sum = 0;
    const Run run = timed(rounds * batch, [&] {
        inside().execute([&] {
            for (std::uint64_t round = 0; round < rounds; ++round) {
                oneapi::tbb::task_group group;
                for (std::uint64_t number = 0; number < batch; ++number) {
                    group.run([&results, number] { results[number] = number; });
                }
                group.wait();
                for (const std::uint64_t result : results) {
                    sum += result;
                }
            }
        });
    });
    if (sum != rounds * (batch * (batch - 1) / 2)) {
        fail("a result is wrong");
    }
    return run;
}

Run detached(std::uint64_t repetitions) {
    const std::uint64_t rounds = rounds_of(repetitions);
    return timed(rounds * batch, [&] {
        inside().execute([&] {
            for (std::uint64_t round = 0; round < rounds; ++round) {
                std::atomic<std::uint64_t> left{batch};
                oneapi::tbb::task_group group;
                for (std::uint64_t number = 0; number < batch; ++number) {
                    group.run([&left] { left.fetch_sub(1, std::memory_order_acq_rel); });
                }
                group.wait();
                if (left.load() != 0) {
                    fail("a task is lost");
                }
            }
        });
    });
}

Run from_outside(std::uint64_t repetitions) {
    // They outlive the last task, which may still be inside `notify_one` when the submitter has seen what it stored.
    static std::atomic<std::uint64_t> left;
    static std::atomic<bool> done;
    const std::uint64_t rounds = rounds_of(repetitions);
    return timed(rounds * batch, [&] {
        for (std::uint64_t round = 0; round < rounds; ++round) {
            left.store(batch);
            done.store(false);
            for (std::uint64_t number = 0; number < batch; ++number) {
                outside().enqueue([] {
                    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                        done.store(true, std::memory_order_release);
                        done.notify_one();
                    }
                });
            }
            done.wait(false, std::memory_order_acquire);
        }
    });
}

void link(oneapi::tbb::task_group& group, std::uint64_t left, std::uint64_t& ran) {
    group.run([&group, left, &ran] {
        ++ran; // one after the other
        if (left > 0) {
            link(group, left - 1, ran);
        }
    });
}

Run chain(std::uint64_t repetitions) {
    std::uint64_t ran = 0;
    const Run run = timed(repetitions, [&] {
        inside().execute([&] {
            oneapi::tbb::task_group group;
            link(group, repetitions, ran);
            group.wait();
        });
    });
    if (ran != repetitions + 1) {
        fail("a task is lost");
    }
    return run;
}

std::uint64_t parallel(std::uint64_t n) {
    if (n < 2) {
        return n;
    }
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    oneapi::tbb::parallel_invoke([&a, n] { a = parallel(n - 1); }, [&b, n] { b = parallel(n - 2); });
    return a + b;
}

Run fib(std::uint64_t repetitions) {
    return timed(repetitions * fib_joins, [&] {
        inside().execute([&] {
            for (std::uint64_t round = 0; round < repetitions; ++round) {
                volatile std::uint64_t n = fib_of;
                if (parallel(n) != fib_is) {
                    fail("a sum is wrong");
                }
            }
        });
    });
}

const std::map<std::string, Run (*)(std::uint64_t)> workloads = {
    {"spawn_join", spawn_join}, {"detached", detached}, {"outside", from_outside},
    {"chain", chain},           {"fib", fib},
};

} // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "--version") {
        std::cout << TBB_VERSION_STRING << '\n';
        return 0;
    }
    // One more than the workers, since the thread that submits from outside is counted, too.
    const oneapi::tbb::global_control limit(
        oneapi::tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers()) + 1);
    std::string name;
    std::uint64_t repetitions = 0;
    while (std::cin >> name >> repetitions) {
        const auto work = workloads.find(name);
        if (work == workloads.end()) {
            fail("there is no workload \"" + name + "\"");
        }
        const auto [amount, operations] = work->second(repetitions);
        std::printf("%f %llu\n", amount, static_cast<unsigned long long>(operations));
        std::fflush(stdout);
    }
    return 0;
}
