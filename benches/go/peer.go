// The Go runtime's part of `cargo xtask bench`: the workloads of src/workload, as Go's users write them.
//
// It reads lines of a workload's name and how often to repeat it, and answers each with a line of what that took
// and for how many operations: nanoseconds, or a gauge's own unit. It ends with its input.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Tasks spawned before the first of them is joined.
const batch = 1000

var workloads = map[string]func(repetitions uint64) (float64, uint64){
	"spawn_join":      spawnJoin,
	"detached":        detached,
	"yields":          yields,
	"ping_pong":       pingPong,
	"chain":           chain,
	"fresh_ping_pong": freshPingPong,
	"skynet":          skynet,
	"idle":            idle,
	"memory":          memory,
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println(strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS+"/"+runtime.GOARCH)
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var repetitions uint64
		if _, err := fmt.Sscan(lines.Text(), &name, &repetitions); err != nil {
			fail("cannot read %q: %v", lines.Text(), err)
		}
		work, known := workloads[name]
		if !known {
			fail("there is no workload %q", name)
		}
		amount, operations := work(repetitions)
		fmt.Printf("%f %d\n", amount, operations)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "go peer: "+format+"\n", values...)
	os.Exit(1)
}

func timed(operations uint64, work func()) (float64, uint64) {
	start := time.Now()
	work()
	return float64(time.Since(start).Nanoseconds()), operations
}

func rounds(repetitions, size uint64) uint64 {
	return (repetitions + size - 1) / size
}

// A goroutine gives its result through memory that its joiner owns: the cheapest that Go has.
func spawnJoin(repetitions uint64) (float64, uint64) {
	rounds := rounds(repetitions, batch)
	results := make([]uint64, batch)
	sum := uint64(0)
	time, operations := timed(rounds*batch, func() {
		for round := uint64(0); round < rounds; round++ {
			var all sync.WaitGroup
			all.Add(batch)
			for number := uint64(0); number < batch; number++ {
				number := number
				go func() {
					results[number] = number
					all.Done()
				}()
			}
			all.Wait()
			for _, result := range results {
				sum += result
			}
		}
	})
	if sum != rounds*(batch*(batch-1)/2) {
		fail("a result is wrong")
	}
	return time, operations
}

func detached(repetitions uint64) (float64, uint64) {
	rounds := rounds(repetitions, batch)
	return timed(rounds*batch, func() {
		for round := uint64(0); round < rounds; round++ {
			left, done := int64(batch), make(chan struct{}, 1)
			for number := 0; number < batch; number++ {
				go func() {
					if atomic.AddInt64(&left, -1) == 0 {
						done <- struct{}{}
					}
				}()
			}
			<-done
		}
	})
}

func yields(repetitions uint64) (float64, uint64) {
	return timed(repetitions, func() {
		for ; repetitions > 0; repetitions-- {
			runtime.Gosched()
		}
	})
}

func pingPong(repetitions uint64) (float64, uint64) {
	ping, pong := make(chan uint64, 1), make(chan uint64, 1)
	go func() {
		for number := range ping {
			pong <- number + 1
		}
		close(pong)
	}()
	number := uint64(0)
	time, operations := timed(repetitions, func() {
		for round := uint64(0); round < repetitions; round++ {
			ping <- number
			number = <-pong
		}
	})
	close(ping)
	<-pong
	if number != repetitions {
		fail("a message is lost")
	}
	return time, operations
}

func chain(repetitions uint64) (float64, uint64) {
	done := make(chan struct{}, 1)
	var link func(left uint64)
	link = func(left uint64) {
		if left == 0 {
			done <- struct{}{}
		} else {
			go link(left - 1)
		}
	}
	return timed(repetitions, func() {
		go link(repetitions)
		<-done
	})
}

// The question is a goroutine, and so is the answer.
func freshPingPong(repetitions uint64) (float64, uint64) {
	number := uint64(0)
	time, operations := timed(repetitions, func() {
		for round := uint64(0); round < repetitions; round++ {
			question := make(chan uint64, 1)
			go func() {
				answer := make(chan uint64, 1)
				go func() { answer <- number + 1 }()
				question <- <-answer
			}()
			number = <-question
		}
	})
	if number != repetitions {
		fail("an answer is wrong")
	}
	return time, operations
}

func skynet(repetitions uint64) (float64, uint64) {
	const leaves = 10_000
	const nodes = leaves + 1000 + 100 + 10 + 1
	var node func(number, size uint64, parent chan<- uint64)
	node = func(number, size uint64, parent chan<- uint64) {
		if size == 1 {
			parent <- number
			return
		}
		up := make(chan uint64, 10)
		for child := uint64(0); child < 10; child++ {
			go node(number+child*(size/10), size/10, up)
		}
		sum := uint64(0)
		for child := 0; child < 10; child++ {
			sum += <-up
		}
		parent <- sum
	}
	rounds := rounds(repetitions, nodes)
	return timed(rounds*nodes, func() {
		for round := uint64(0); round < rounds; round++ {
			up := make(chan uint64, 1)
			go node(0, leaves, up)
			if <-up != leaves*(leaves-1)/2 {
				fail("a number is lost")
			}
		}
	})
}

// Microseconds of CPU time in so many seconds with nothing to do; one at least, so that there is a ratio.
func idle(seconds uint64) (float64, uint64) {
	done := make(chan struct{})
	go close(done)
	<-done
	time.Sleep(100 * time.Millisecond)
	before := cpuTime()
	// Not time.Sleep: the others have no timers of their own under way either.
	pause := syscall.NsecToTimespec(int64(seconds) * 1_000_000_000)
	if err := syscall.Nanosleep(&pause, nil); err != nil && err != syscall.EINTR {
		fail("cannot sleep: %v", err)
	}
	spent := float64(cpuTime()-before) / 1e3
	if spent < 1 {
		spent = 1
	}
	return spent, 1
}

func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// Resident bytes of each of so many goroutines that wait.
func memory(tasks uint64) (float64, uint64) {
	var waiting sync.WaitGroup
	waiting.Add(int(tasks))
	never := make(chan struct{})
	before := residentBytes()
	for task := uint64(0); task < tasks; task++ {
		go func() {
			waiting.Done()
			<-never
		}()
	}
	waiting.Wait()
	time.Sleep(100 * time.Millisecond)
	return residentBytes() - before, tasks
}

func residentBytes() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				fail("%v", err)
			}
			return kilobytes * 1024
		}
	}
	fail("/proc/self/status has no VmRSS")
	return 0
}
