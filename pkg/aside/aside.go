// Package aside has a process of its own wait for the kernel.
//
// Some requests of netlink are carried out in microseconds, and keep the one who sent them for another 15 ms: the deletion of a link
// waits for a grace period of RCU once the link is gone (rcu_barrier in netdev_run_todo), the last close of a socket of nftables for
// the memory of what was deleted, by whomever (nf_tables_trans_destroy_flush_work). A plugin that runs for 5 ms need not: it has a process
// aside send the request, or hold the socket, sees by other means that the kernel has done its part, and exits.
//
// The process shares the memory of its parent, so that nothing is copied, and runs no Go: a few system calls, one after the other, from
// a table (aside_amd64.s). It keeps nothing but the descriptors it is given: no lock, no namespace, no pipe to the runtime.
package aside

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnable says that no such process can be had here: the caller waits itself.
var ErrUnable = errors.New("no process to wait aside")

// Task is what a process does: it closes all descriptors but Keep, writes Data to To unless it is empty, waits if Grace says so, and
// ends, by which Keep is closed.
type Task struct {
	Keep []int
	To   int // one of Keep
	Data []byte
	// Last has it wait for the end of this process first, so that it is the one who closes Keep for good.
	Last bool
	// Grace has it wait for a grace period of RCU at its end. The kernel waits for one when a socket of nftables is closed while
	// anybody's deletions are being finished, and has all transactions of the namespace wait as long (nft_rcv_nl_event, with the lock
	// commit_mutex); afterwards it finds nothing left to wait for.
	Grace bool
}

// call is a system call: its number and arguments.
type call [4]uintptr

// process is what a process reads while it runs, and this one must not free: calls refers to data.
type process struct {
	calls []call
	data  []byte
	stack [64]uintptr // on which nothing is ever put by the processor
}

// processes is all that were started. There are few, and this process ends before long.
var processes struct {
	sync.Mutex
	all []*process
}

// Start starts a process. The descriptor it gives becomes readable when the process ends (pidfd_open(2)), and is the caller's to
// close. The error wraps ErrUnable.
//
// Whoever adopts orphans reaps the process: it is for those that exit before long.
func Start(t Task) (pidfd int, err error) {
	if !reaped() || unix.CloseRange(lastDescriptor, lastDescriptor, 0) != nil { // close_range: since Linux 5.9
		return -1, ErrUnable
	}
	p := &process{data: t.Data}
	end := -1
	if t.Last {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return -1, fmt.Errorf("%w: %w", ErrUnable, err)
		}
		defer unix.Close(ends[0]) // the other end stays open until this process ends
		end, t.Keep = ends[0], append(slices.Clone(t.Keep), ends[0])
	}
	p.calls = p.steps(t, end)
	processes.Lock()
	processes.all = append(processes.all, p)
	processes.Unlock()
	fd := int32(-1)
	if errno := start(p, &fd); errno != 0 {
		return -1, fmt.Errorf("%w: %w", ErrUnable, errno)
	}
	return int(fd), nil
}

// lastDescriptor is the greatest that could be. Nobody has it.
const lastDescriptor = 1<<32 - 1

// reaped says whether somebody reaps the process when this one has exited. A runtime that is the first process of a container
// becomes its parent, and knows nothing of it: it would stay a zombie.
func reaped() bool { return supported && os.Getppid() != 1 }

// steps is the system calls of a task. end, unless it is negative, is a descriptor that is at its end when this process is.
func (p *process) steps(t Task, end int) []call {
	var calls []call
	from := uint(0)
	for _, fd := range slices.Sorted(slices.Values(t.Keep)) {
		if uint(fd) > from {
			calls = append(calls, call{unix.SYS_CLOSE_RANGE, uintptr(from), uintptr(fd - 1)})
		}
		from = uint(fd) + 1
	}
	calls = append(calls, call{unix.SYS_CLOSE_RANGE, uintptr(from), lastDescriptor})
	if len(p.data) > 0 {
		calls = append(calls, call{unix.SYS_WRITE, uintptr(t.To), uintptr(unsafe.Pointer(&p.data[0])), uintptr(len(p.data))})
	}
	if end >= 0 {
		calls = append(calls, call{unix.SYS_READ, uintptr(end), uintptr(unsafe.Pointer(&p.stack[0])), 1})
	}
	if t.Grace {
		calls = append(calls, call{unix.SYS_MEMBARRIER, membarrierGlobal})
	}
	return append(calls, call{unix.SYS_EXIT_GROUP, 0})
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL (linux/membarrier.h): to wait for a grace period, which costs no processor time. A kernel
// that refuses it does not wait.
const membarrierGlobal = 1

// start starts the process with all signals blocked: their handlers are this process's.
func start(p *process, pidfd *int32) unix.Errno {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return unix.EPERM
	}
	// No signal at its end: who is reparented to init sends SIGCHLD there (reparent_leader).
	pid := clone(unix.CLONE_VM|unix.CLONE_PIDFD, unsafe.Pointer(&p.stack[len(p.stack)-2]), unsafe.Pointer(&p.calls[0]), pidfd)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		panic(fmt.Sprintf("signals stay blocked: %v", err)) // it cannot fail
	}
	if pid < 0 {
		return unix.Errno(-pid)
	}
	return 0
}
