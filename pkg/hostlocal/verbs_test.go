package hostlocal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const twoFamilies = `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]`

func TestCheckComparesAddresses(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), twoFamilies), testMachine()
	mustAdd(t, m, c, owner(1))
	if err := m.check(t.Context(), c, owner(1), addr("10.1.0.2"), addr("fd00::2")); err != nil {
		t.Error(err)
	}
	remove(t, filepath.Join(c.dir(), "10.1.0.2"))
	want := "address 10.1.0.2 of network net is not reserved for container c1 interface eth0: run DEL and ADD again"
	if err := m.check(t.Context(), c, owner(1), addr("fd00::2"), addr("10.1.0.2")); !errors.Is(err, ErrNotReserved) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := m.check(t.Context(), c, owner(1)); err != nil {
		t.Errorf("of no address in particular: %v", err)
	}
}

// The CNI specification sets no limit to a container ID.
func TestLongContainerID(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), twoFamilies), testMachine()
	for _, length := range []int{readFirst - 6, readFirst - 5, readFirst, 2 * readFirst, 5000, 100_000} {
		o := Owner{ContainerID: strings.Repeat("a", length), IfName: "eth0"}
		first := mustAdd(t, m, c, o)
		if diff := cmp.Diff(addresses(first), addresses(mustAdd(t, m, c, o))); diff != "" {
			t.Errorf("%d bytes (-first +again):\n%s", length, diff)
		}
		if err := errors.Join(m.check(t.Context(), c, o), m.release(t.Context(), c, o)); err != nil {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %d", len(left))
	}
}

// records reads what is recorded with the reservations.
func records(t *testing.T, m machine, c Config) map[string]record {
	t.Helper()
	s, err := m.enter(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	all := map[string]record{}
	for name := range reservations(t, c) {
		if all[name], err = s.record(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Undo takes back what its Add did: new addresses, and records of others.
func TestUndo(t *testing.T) {
	dir, m := t.TempDir(), testMachine()
	first, second := namespace(t), namespace(t)
	old := testConfig(t, dir, `"subnet": "10.1.0.0/24"`)
	addIn(t, m, old, owner(1), first)
	before := records(t, m, old)
	c := testConfig(t, dir, `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]`)
	l := addIn(t, m, c, owner(1), second)
	if diff := cmp.Diff([]string{"10.2.0.2"}, []string{l.Fresh[0].String()}); diff != "" || len(l.Fresh) != 1 {
		t.Errorf("fresh (-want +got):\n%s", diff)
	}
	during := records(t, m, c)
	if during["10.1.0.2"].netns != (Netns{}) {
		t.Errorf("the owner may live in either namespace, and %+v is recorded", during["10.1.0.2"])
	}
	for range 2 {
		if err := m.store(c).Undo(t.Context(), owner(1), l); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, records(t, m, c), cmp.AllowUnexported(record{}, boot{})); diff != "" {
			t.Errorf("records (-before +after):\n%s", diff)
		}
	}
}

// A call that fails at its last range set has changed nothing of what was there.
func TestFailedAddKeepsRecords(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "10.2.0.0/30"}]]`), testMachine()
	first, second := namespace(t), namespace(t)
	addIn(t, m, c, owner(1), first)
	remove(t, filepath.Join(c.dir(), "10.2.0.2"))
	write(t, c, "10.2.0.2", "other\r\neth0")
	before := records(t, m, c)
	if _, err := m.add(t.Context(), c, owner(1), second); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, records(t, m, c), cmp.AllowUnexported(record{}, boot{})); diff != "" {
		t.Errorf("records (-before +after):\n%s", diff)
	}
}

// The gateway of one range set is no address of another.
func TestGatewayAcrossSets(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}],
		[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.5", "gateway": "10.1.0.254"}]]`)
	got := addresses(mustAdd(t, testMachine(), c, owner(1)))
	if diff := cmp.Diff([]string{"10.1.0.10/24", "10.1.0.2/24"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What another machine has reserved is no earlier boot's, and CHECK makes nothing void.
func TestAnotherMachine(t *testing.T) {
	c, here, there := testConfig(t, t.TempDir(), twoFamilies), testMachine(), testMachine()
	there.boot = boot{machine: "machine-2", id: "boot-9"}
	mustAdd(t, here, c, owner(1))
	warnings := logged(t)
	mustAdd(t, there, c, owner(2))
	if !strings.Contains(warnings.String(), "level=WARN") || !strings.Contains(warnings.String(), "another machine") {
		t.Errorf("no warning: %s", warnings)
	}
	mustAdd(t, here, c, owner(3))
	for i, m := range map[int]machine{1: here, 2: there, 3: here} {
		if err := m.check(t.Context(), c, owner(i)); err != nil {
			t.Error(err)
		}
	}
	for _, m := range []machine{here.restarted(), there.restarted(), {boot: boot{id: "unknown machine"}, sys: linux{}, patience: here.patience}} {
		before := files(t, c)
		_ = m.check(t.Context(), c, owner(7))
		if diff := cmp.Diff(before, files(t, c)); diff != "" {
			t.Errorf("CHECK of %+v (-before +after):\n%s", m.boot, diff)
		}
	}
	mustAdd(t, here.restarted(), c, owner(4))
	if left := reservations(t, c); left["10.1.0.2"] != "" || left["10.1.0.3"] != "c2\r\neth0" || left["10.1.0.4"] != "" {
		t.Errorf("after a start of the first machine: %v", left)
	}
}

// Whoever removes the lock lets two in at once: that costs the index, and no address.
func TestRemovedLock(t *testing.T) {
	const workers, rounds = 6, 40
	c, m := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/22"`), testMachine()
	mustAdd(t, m, c, owner(1000))
	stop := make(chan struct{})
	var remover, all sync.WaitGroup
	remover.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Remove(filepath.Join(c.dir(), lockName))
			}
		}
	})
	for w := range workers {
		all.Go(func() {
			for i := range rounds {
				o := owner(w*rounds + i)
				if _, err := m.add(t.Context(), c, o, ""); err != nil {
					t.Error(err)
				}
				if err := m.release(t.Context(), c, o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	remover.Wait()
	if diff := cmp.Diff(map[string]string{"10.1.0.2": "c1000\r\neth0"}, reservations(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A session that was let in beside another puts no stamp on an index without the other's.
func TestTwoSessions(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`), testMachine()
	mustAdd(t, m, c, owner(0))
	take := func(s *session, o Owner) {
		t.Helper()
		all, err := c.allocations(o, record{boot: m.boot})
		if err == nil {
			_, err = s.fulfil(t.Context(), all, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, secondFirst := range []bool{true, false} {
		first, err := m.enter(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, filepath.Join(c.dir(), lockName))
		second, err := m.enter(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		take(first, owner(1))
		take(second, owner(2))
		if secondFirst {
			second.close()
			first.close()
		} else {
			first.close()
			second.close()
		}
		for i := range 2 {
			if err := m.release(t.Context(), c, owner(1+i)); err != nil {
				t.Error(err)
			}
		}
		if left := reservations(t, c); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// STATUS says no where no ADD could work.
func TestStatusSaysWhatAddWould(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	dangling, network := filepath.Join(t.TempDir(), "link"), t.TempDir()
	for _, link := range []string{dangling, filepath.Join(network, "net")} {
		if err := os.Symlink(nowhere, link); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]Config{
		"no resolvConf":             testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24", "resolvConf": "`+nowhere+`"`),
		"dataDir leads nowhere":     testConfig(t, dangling, `"subnet": "10.1.0.0/24"`),
		"the network leads nowhere": testConfig(t, network, `"subnet": "10.1.0.0/24"`),
		"dataDir below a file":      testConfig(t, "/etc/passwd/x", `"subnet": "10.1.0.0/24"`),
	} {
		t.Run(name, func(t *testing.T) {
			m := testMachine()
			err := m.store(c).Status(t.Context())
			if _, addErr := m.add(t.Context(), c, owner(1), ""); err == nil || addErr == nil {
				t.Errorf("STATUS: %v\nADD: %v", err, addErr)
			}
		})
	}
}

// Discard that ends at any moment can be made again.
func TestDiscardIsKilled(t *testing.T) {
	for at := 1; ; at++ {
		c, m := testConfig(t, t.TempDir(), twoFamilies), testMachine()
		mustAdd(t, m, c, owner(1))
		f := &faulty{system: linux{}, at: at, fault: errKilled}
		killed := m
		killed.sys = f
		_ = killed.store(c).Discard(t.Context())
		if err := m.store(c).Discard(t.Context()); err != nil {
			t.Errorf("killed at %d: %v", at, err)
		}
		for _, dir := range []string{c.dir(), filepath.Join(c.DataDir, sideDir, c.Network)} {
			if _, err := os.Lstat(dir); !isNotExist(err) {
				t.Errorf("killed at %d: %s is left", at, dir)
			}
		}
		if !f.hit() {
			return
		}
	}
}

// Who waited for the lock of a network that was removed makes it anew.
func TestAddWhileDiscarding(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), twoFamilies), testMachine()
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 20 {
				if _, err := m.add(t.Context(), c, owner(w*20+i), ""); err != nil {
					t.Error(err)
				}
				if err := m.store(c).Discard(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// What has the name of an address and is no file is nobody's, and keeps its address.
func TestNoFiles(t *testing.T) {
	c, m := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/29"`), testMachine()
	mustAdd(t, m, c, owner(1))
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(socket) }()
	for name, err := range map[string]error{
		"a directory": os.Mkdir(filepath.Join(c.dir(), "10.1.0.3"), 0o755),
		"a link":      os.Symlink("/etc/passwd", filepath.Join(c.dir(), "10.1.0.4")),
		"a FIFO":      unix.Mkfifo(filepath.Join(c.dir(), "10.1.0.5"), 0o600),
		"a socket":    unix.Bind(socket, &unix.SockaddrUnix{Name: filepath.Join(c.dir(), "10.1.0.6")}),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := m.add(t.Context(), c, owner(2), ""); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v", err)
	}
	m = m.restarted()
	verbs := map[string]error{
		"check": m.check(t.Context(), c, owner(1)), "gc": m.store(c).GC(t.Context(), nil), "status": m.store(c).Status(t.Context()),
		"release": m.release(t.Context(), c, owner(1)),
	}
	if err := verbs["check"]; !errors.Is(err, ErrNotReserved) {
		t.Errorf("check: %v", err)
	}
	delete(verbs, "check")
	for verb, err := range maps.All(verbs) {
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if got := fmt.Sprint(addresses(mustAdd(t, m, c, owner(3)))); got != "[10.1.0.2/29]" {
		t.Errorf("got %s", got)
	}
}
