package aside

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// parent is what this binary does as another process, instead of tests: it starts one that writes to descriptor 3, and says so.
const parent = "ASIDE_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parent) == "" {
		testnet.Run(m)
		return
	}
	last := os.Getenv(parent) == "last"
	_, err := Start(Task{Keep: []int{3}, To: 3, Data: []byte("news"), Last: last})
	if last {
		_ = unix.Close(3) // the process has it
	}
	fmt.Println(err)
	if err == nil {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed
	}
}

// fullPipe is a pipe that takes no more until it is read.
func fullPipe(t *testing.T) (read, write *os.File, full int) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = read.Close(), write.Close() })
	if full, err = unix.FcntlInt(write.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	if _, err := write.Write(make([]byte, full)); err != nil {
		t.Fatal(err)
	}
	return read, write, full
}

// wait waits for the end of a process and reaps it.
func wait(t *testing.T, pidfd int) unix.Siginfo {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(pidfd) // only waited for
	return info
}

// pidOf is the process of a descriptor.
func pidOf(t *testing.T, pidfd int) string {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		t.Fatal(err)
	}
	_, behind, _ := strings.Cut(string(info), "Pid:")
	pid, _, _ := strings.Cut(strings.TrimSpace(behind), "\n")
	return pid
}

// awaitBlocked waits until a process is in a write.
func awaitBlocked(t *testing.T, pid string) {
	t.Helper()
	for {
		called, err := os.ReadFile(filepath.Join("/proc", pid, "syscall"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(called), strconv.Itoa(unix.SYS_WRITE)+" ") {
			return
		}
		runtime.Gosched()
	}
}

// TestKeepsNothingElse: the process has the descriptors it was given, and none of its parent's others; it writes, and ends.
func TestKeepsNothingElse(t *testing.T) {
	read, write, full := fullPipe(t)
	_, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	pidfd, err := Start(Task{Keep: []int{int(write.Fd()), 1}, To: int(write.Fd()), Data: []byte("news")})
	if err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, pidfd)
	awaitBlocked(t, pid)
	entries, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	var has []string
	for _, e := range entries {
		has = append(has, e.Name())
	}
	slices.Sort(has)
	want := []string{"1", strconv.Itoa(int(write.Fd()))}
	if !slices.Equal(has, want) {
		t.Errorf("descriptors %v instead of %v", has, want)
	}
	got := make([]byte, full+4)
	if _, err := io.ReadFull(read, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(got, []byte("news")) {
		t.Errorf("written: %q", got[full:])
	}
	if info := wait(t, pidfd); info.Code != 1 { // CLD_EXITED
		t.Errorf("ended with code %d", info.Code)
	}
}

// TestKilled: the end of the process is seen, and is no harm to its parent, whose memory it shares.
func TestKilled(t *testing.T) {
	_, write, _ := fullPipe(t)
	pidfd, err := Start(Task{Keep: []int{int(write.Fd())}, To: int(write.Fd()), Data: []byte("news")})
	if err != nil {
		t.Fatal(err)
	}
	awaitBlocked(t, pidOf(t, pidfd))
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if info := wait(t, pidfd); info.Code != 2 { // CLD_KILLED
		t.Errorf("ended with code %d", info.Code)
	}
}

// TestOutlivesItsParent: whoever started it may be killed.
func TestOutlivesItsParent(t *testing.T) {
	read, write, full := fullPipe(t)
	started := exec.Command("/proc/self/exe")
	started.Env, started.ExtraFiles = append(os.Environ(), parent+"=1"), []*os.File{write}
	stdin, err := started.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	said, err := started.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	if answer := make([]byte, 16); true {
		n, err := said.Read(answer)
		if string(answer[:n]) != "<nil>\n" {
			t.Fatalf("%s, %v", answer[:n], err)
		}
	}
	if err := started.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := started.Wait(); err == nil { // it ends although the other one still waits
		t.Error("not killed")
	}
	got := make([]byte, full+4)
	if _, err := io.ReadFull(read, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(got, []byte("news")) {
		t.Errorf("written: %q", got[full:])
	}
}

// TestLast: a process that is to be the last does not end before its parent.
func TestLast(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	started := exec.Command("/proc/self/exe")
	started.Env, started.ExtraFiles = append(os.Environ(), parent+"=last"), []*os.File{write}
	stdin, err := started.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close() // the others have it
	if _, err := io.ReadFull(read, make([]byte, len("news"))); err != nil {
		t.Fatal(err)
	}
	if err := read.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it has ended before its parent: %d, %v", n, err)
	}
	_ = stdin.Close() // by which the parent ends
	if err := started.Wait(); err != nil {
		t.Error(err)
	}
	if err := read.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it has not ended after its parent: %d, %v", n, err)
	}
}

// TestGrace: a process waits for a grace period when it has done all else, and then only closes what it keeps.
func TestGrace(t *testing.T) {
	if !slices.Contains([]unix.Errno{0, unix.EINVAL}, membarrier()) { // EINVAL: where nohz_full= keeps processors from it
		t.Fatal("this kernel has no membarrier(2), by which processes wait")
	}
	for _, task := range []Task{{Keep: []int{5}, Grace: true}, {Keep: []int{5, 6}, To: 6, Data: []byte("news"), Grace: true}} {
		p := &process{data: task.Data}
		calls := p.steps(task, 7)
		last := calls[len(calls)-2:]
		if last[0] != (call{unix.SYS_MEMBARRIER, membarrierGlobal}) || last[1] != (call{unix.SYS_EXIT_GROUP}) {
			t.Errorf("the last calls are %v", last)
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	pidfd, err := Start(Task{Keep: []int{int(write.Fd())}, To: int(write.Fd()), Data: []byte("news"), Grace: true})
	if err != nil {
		t.Fatal(err)
	}
	if info := wait(t, pidfd); info.Code != 1 {
		t.Errorf("ended with code %d", info.Code)
	}
	_ = write.Close()
	if got, err := io.ReadAll(read); string(got) != "news" || err != nil {
		t.Errorf("written: %q, %v", got, err)
	}
}

// membarrier waits for a grace period.
func membarrier() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	return errno
}

// TestNobodyReaps: under a runtime that is the first process of a container there is none.
func TestNobodyReaps(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", self+"; exit 0") // a shell does not become its last command
	shell.Env = append(os.Environ(), parent+"=1")
	shell.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	said, err := shell.Output()
	if err != nil || string(said) != ErrUnable.Error()+"\n" {
		t.Errorf("%q, %v", said, err)
	}
}

// TestManyAtOnce starts processes from many goroutines while memory is collected, and each says what it was told.
func TestManyAtOnce(t *testing.T) {
	const starters, each = 8, 100
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	stop := make(chan struct{})
	var collector, all sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	for s := range starters {
		all.Go(func() {
			for i := range each {
				pidfd, err := Start(Task{Keep: []int{int(write.Fd())}, To: int(write.Fd()), Data: fmt.Appendf(nil, "%03d\n", s*each+i)})
				if err != nil {
					t.Error(err)
					return
				}
				wait(t, pidfd)
			}
		})
	}
	go func() {
		all.Wait()
		_ = write.Close() // all has been written
		close(stop)
	}()
	said, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	collector.Wait()
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	slices.Sort(lines)
	if got := len(slices.Compact(lines)); got != starters*each || lines[0] != "000" {
		t.Errorf("%d different lines of %d, the first %q", got, starters*each, lines[0])
	}
}

// TestUnableIsSaid: a process that may have no more descriptors waits itself.
func TestUnableIsSaid(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Task{}); !errors.Is(err, ErrUnable) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("error %v", err)
	}
}
