package liveness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A namespace lives as long as anything holds it, whatever becomes of the path at which it was seen; then it has ended.
func TestEnded(t *testing.T) {
	for name, hold := range map[string]func(t *testing.T, path string) (release func()){
		"nothing":             func(*testing.T, string) func() { return func() {} },
		"process":             holdByProcess,
		"thread":              holdByThread,
		"descriptor":          holdByDescriptor,
		"another path":        holdByMount,
		"another mount":       holdInAnotherMountNamespace,
		"path made anew, too": holdByDescriptorAndPathMadeAnew,
	} {
		for _, pathsOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, paths only %t", name, pathsOnly), func(t *testing.T) {
				ns, err := testnet.New("judged")
				if err != nil {
					t.Fatal(err)
				}
				m, err := MarkAt(ns.Path)
				if err != nil {
					t.Fatal(err)
				}
				ended := func() bool { return (&Observer{pathsOnly: pathsOnly}).Ended(m, ns.Path) }
				if ended() {
					t.Error("bound to its path: it has ended")
				}
				release := hold(t, ns.Path)
				if _, err := os.Stat(ns.Path); err == nil && name != "path made anew, too" {
					if err := ns.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if name != "nothing" && ended() {
					t.Error("held: it has ended")
				}
				release()
				awaitEnd(t, ended)
			})
		}
	}
}

// awaitEnd waits: the kernel ends a namespace some time after its last holder has gone.
func awaitEnd(t *testing.T, ended func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ended(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("released: it has not ended")
		}
	}
}

// start starts a command that goes on until the release, and waits for its first line.
func start(t *testing.T, name string, args ...string) (release func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // the group is there until Wait
		_ = cmd.Wait()                                // killed
	}
}

func holdByProcess(t *testing.T, path string) func() {
	return start(t, "nsenter", "--net="+path, "sh", "-c", "echo; exec sleep 600")
}

func holdByThread(t *testing.T, path string) func() {
	entered, leave, left := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread would stay there
			defer runtime.UnlockOSThread()
			release := holdByThread(t, path)
			entered <- nil
			<-leave
			release()
			close(left)
			return
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		entered <- err
		<-leave
		close(left)
	}()
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	return func() { close(leave); <-left }
}

func holdByDescriptor(t *testing.T, path string) func() {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

func holdByMount(t *testing.T, path string) func() {
	other := filepath.Join(t.TempDir(), "a path with spaces")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(path, other, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Unmount(other, 0); err != nil {
			t.Error(err)
		}
	}
}

func holdInAnotherMountNamespace(t *testing.T, path string) func() {
	other := filepath.Join(t.TempDir(), "other") // the kernel takes a mount away whose place is removed
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "unshare", "--mount", "sh", "-c", "mount --bind "+path+" "+other+" && echo && exec sleep 600")
}

func holdByDescriptorAndPathMadeAnew(t *testing.T, path string) func() {
	release := holdByDescriptor(t, path)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	anew, err := testnet.New(filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anew.Close() })
	return release
}

// What is recognised by number alone may be another one: the kernel gives a number again.
func TestEndedRecycled(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	m, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	if m.id.Cookie == 0 {
		t.Fatal("the kernel has no cookies")
	}
	earlier := m
	earlier.id.Cookie--
	for _, pathsOnly := range []bool{false, true} {
		o := &Observer{pathsOnly: pathsOnly}
		if !o.Ended(earlier, ns.Path) {
			t.Errorf("paths only %t: one with the same number, but another cookie, has not ended", pathsOnly)
		}
	}
}

// Where it cannot be told, a namespace lives.
func TestEndedInDoubt(t *testing.T) {
	ns, err := testnet.New("doubt")
	if err != nil {
		t.Fatal(err)
	}
	m, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, func() bool { return (&Observer{pathsOnly: true}).Ended(m, "") })
	blind := &Observer{pathsOnly: true, holders: &holders{blind: true}}
	elsewhere := m
	elsewhere.processes = "4026531000.1"
	for name, ended := range map[string]bool{
		"no mark": (&Observer{}).Ended(Mark{}, ""), "processes that cannot be read": blind.Ended(m, ""),
		"seen by processes that see others": (&Observer{pathsOnly: true}).Ended(elsewhere, ""),
	} {
		if ended {
			t.Errorf("%s: it has ended", name)
		}
	}
	otherBoot := m
	otherBoot.boot = "00000000-0000-0000-0000-000000000000"
	if !(&Observer{}).Ended(otherBoot, "") {
		t.Error("of an earlier boot: it has not ended")
	}
}

// A boot ID that a container manager has put there says nothing of boots.
func TestForeignBoot(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	m, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(file, []byte("11111111-2222-3333-4444-555555555555\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const path = "/proc/sys/kernel/random/boot_id"
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	}()
	if (&Observer{}).Ended(m, ns.Path) {
		t.Error("it has ended, by another boot ID")
	}
	if made, err := MarkAt(ns.Path); err == nil {
		t.Errorf("marked by another boot ID: %v", made)
	}
}

func TestMarkText(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	m, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	if again, ok := ParseMark(m.String()); !ok || again != m || !again.Is(m) {
		t.Errorf("%s: read back as %+v, %t", m, again, ok)
	}
	if strings.Trim(m.String(), "abcdefghijklmnopqrstuvwxyz0123456789.:-") != "" {
		t.Errorf("%s: not one word", m)
	}
	for _, text := range []string{"", ":", "x", m.String() + " ", " " + m.String(), strings.Replace(m.String(), ":", ":+", 1), "::::", "b:1:0:3:p"} {
		if again, ok := ParseMark(text); ok {
			t.Errorf("%q: read as %+v", text, again)
		}
	}
}

// The host's end of a veth lives and dies with the other one's namespace, by whatever name it goes.
func TestHostEnd(t *testing.T) {
	testnet.NewHost(t)
	ns, err := testnet.New("attached")
	if err != nil {
		t.Fatal(err)
	}
	o := state.Owner{Network: "lamp", ContainerID: "c1", IfName: "eth0"}
	testnet.Sh(t, "ip", "link", "add", o.HostLink(), "type", "veth", "peer", "name", "eth0", "netns", "attached")
	m, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !(&Observer{}).HasHostEnd(o) || (&Observer{}).Gone(o, m, ns.Path) {
		t.Error("attached: it has no end on the host, or is gone")
	}
	testnet.Sh(t, "ip", "link", "set", o.HostLink(), "alias", o.Tag())
	testnet.Sh(t, "ip", "link", "set", o.HostLink(), "name", "renamed")
	if !(&Observer{}).HasHostEnd(o) {
		t.Error("renamed: it has no end on the host")
	}
	if other := (state.Owner{Network: "lamp", ContainerID: "c2", IfName: "eth0"}); (&Observer{}).HasHostEnd(other) {
		t.Error("another owner has an end on the host")
	}
	held := holdByDescriptor(t, ns.Path)
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	if (&Observer{}).Gone(o, Mark{}, ns.Path) || (&Observer{}).Gone(o, m, ns.Path) {
		t.Error("its path has gone: it is gone")
	}
	held()
	awaitEnd(t, func() bool { return (&Observer{}).Gone(o, m, ns.Path) })
	if (&Observer{}).Gone(o, Mark{}, ns.Path) {
		t.Error("without a mark nothing is certain")
	}
}

// TestFindByOwnMount: a path that this process has itself does not end with another one.
func TestFindByOwnMount(t *testing.T) {
	ns := testnet.NewNS(t, "bound")
	for range 3 {
		t.Cleanup(start(t, "unshare", "--mount", "nsenter", "--net="+ns.Path, "sh", "-c", "echo; exec sleep 600"))
	}
	mark, err := MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	if path, ok := (&Observer{}).Find(mark, ""); !ok || path != ns.Path {
		t.Errorf("got %s, %v; want %s", path, ok, ns.Path)
	}
}
