package testnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Run(m) }

// patience is how long a test waits for what has to come.
const patience = time.Minute

// reaches waits until a host has an answer from an address.
func reaches(t *testing.T, h *Host, addr netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(patience); !answers(h, addr); {
		if time.Now().After(deadline) {
			t.Fatalf("%s has no answer from %s", h.Name, addr)
		}
	}
}

func answers(h *Host, addr netip.Addr) bool {
	return h.Command("busybox", "ping", "-c1", "-W1", addr.String()).Run() == nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestHosts(t *testing.T) {
	hosts := NewHosts(t, 3, "")
	for _, from := range hosts.All {
		for _, to := range hosts.All {
			reaches(t, from, to.V4)
			reaches(t, from, to.V6)
		}
		reaches(t, from, netip.MustParseAddr(Gateway4))
		reaches(t, from, netip.MustParseAddr(Gateway6))
	}
	t.Run("own directories", func(t *testing.T) { ownDirectories(t, hosts) })
	t.Run("cut", func(t *testing.T) { cut(t, hosts.All[0], hosts.All[1]) })
	t.Run("readdress", func(t *testing.T) { readdress(t, hosts.All[0], hosts.All[1]) })
	t.Run("reboot", func(t *testing.T) { reboot(t, hosts.All[0], hosts.All[1]) })
}

func ownDirectories(t *testing.T, hosts *Hosts) {
	for _, h := range hosts.All {
		if got := h.Sh(t, "hostname"); got != h.Name {
			t.Errorf("host name %q, want %q", got, h.Name)
		}
		for _, dir := range append([]string{"/run"}, ownDirs...) {
			file := filepath.Join(dir, "of-a-host")
			must(t, os.WriteFile(h.File(file), []byte(h.Name), 0o600))
			if _, err := os.Stat(file); err == nil {
				t.Errorf("%s of %s is on the machine", file, h.Name)
			}
		}
	}
	for _, h := range hosts.All {
		for _, dir := range append([]string{"/run"}, ownDirs...) {
			if got := h.Sh(t, "cat", filepath.Join(dir, "of-a-host")); got != h.Name {
				t.Errorf("%s: %s has what %q wrote", h.Name, dir, got)
			}
		}
	}
}

func cut(t *testing.T, a, b *Host) {
	must(t, b.Cut())
	if answers(a, b.V4) || answers(a, b.V6) {
		t.Errorf("%s answers without a cable", b.Name)
	}
	must(t, b.Mend())
	reaches(t, a, b.V4)
	reaches(t, a, b.V6)
}

func readdress(t *testing.T, a, b *Host) {
	old4, old6 := b.V4, b.V6
	must(t, b.Readdress(netip.MustParseAddr("192.0.2.212"), netip.MustParseAddr("2001:db8::212")))
	reaches(t, a, b.V4)
	reaches(t, a, b.V6)
	reaches(t, b, netip.MustParseAddr(Gateway4))
	if b.V4 == old4 || answers(a, old4) || answers(a, old6) {
		t.Errorf("%s still answers at %s or %s", b.Name, old4, old6)
	}
}

func reboot(t *testing.T, a, b *Host) {
	boot := func() string { return b.Sh(t, "cat", bootIDFile) }
	before := boot()
	if machine, err := os.ReadFile(bootIDFile); err != nil || before == strings.TrimSpace(string(machine)) {
		t.Errorf("boot of the host %s, of the machine %s (%v)", before, machine, err)
	}
	b.Sh(t, "ip", "link", "add", "made", "type", "bridge")
	run := startContainer(t, b)
	must(t, b.Reboot())
	if err := run.Stop(unix.SIGKILL); err != nil {
		t.Errorf("a container of the host: %v", err)
	}
	if after := boot(); after == before || len(after) != 36 {
		t.Errorf("boot ID %q after %q", after, before)
	}
	if links := b.Sh(t, "ip", "-br", "link"); strings.Contains(links, "made") {
		t.Errorf("links after the reboot:\n%s", links)
	}
	if _, err := os.Stat(b.File("/run/of-a-host")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file below /run after the reboot: error %v, want ErrNotExist", err)
	}
	for _, dir := range ownDirs {
		if _, err := os.Stat(b.File(filepath.Join(dir, "of-a-host"))); err != nil {
			t.Error(err)
		}
	}
	reaches(t, a, b.V4)
	reaches(t, a, b.V6)
}

// startContainer starts a process on a host that has namespaces of its own.
func startContainer(t *testing.T, h *Host) *Process {
	t.Helper()
	p, err := Start(h.Command("unshare", "--net", "--mount", "--fork", "sh", "-c", "echo started && exec sleep infinity"))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, p.Await(ctx, "started"))
	return p
}

// markVar is in the environment of all that the test starts.
const markVar = "FAIRWAY_TEST_MARK"

// What one program raises for longer is found by another, and nothing is left when it is taken down.
func TestHostsUntilDown(t *testing.T) {
	dir := filepath.Join("/run", "until-down")
	t.Setenv(markVar, "1")
	raised, err := RaiseHosts(HostsConfig{Dir: dir, Count: 2, Life: UntilDown})
	must(t, err)
	t.Cleanup(func() { _ = raised.Close() }) // the test has failed before
	if _, err := RaiseHosts(HostsConfig{Dir: dir, Count: 2}); !errors.Is(err, os.ErrExist) {
		t.Errorf("raised again: error %v, want ErrExist", err)
	}
	found, err := OpenHosts(dir)
	must(t, err)
	if len(found.All) != 2 || !found.All[1].Alive() {
		t.Fatalf("found %+v", found.All)
	}
	must(t, found.All[0].Reboot())
	reaches(t, found.All[0], found.All[1].V6)
	run := startContainer(t, found.All[0])

	found, err = OpenHosts(dir) // the reboot was written down
	must(t, err)
	must(t, found.Close())
	if err := run.Stop(unix.SIGKILL); err != nil {
		t.Errorf("a container of the host: %v", err)
	}
	nothingLeft(t, dir, found)
	if _, err := OpenHosts(dir); !errors.Is(err, ErrNoHosts) {
		t.Errorf("opened after Close: error %v, want ErrNoHosts", err)
	}
}

// Whoever lives on hosts is found without those that keep the namespaces.
func TestHostsWithoutHolders(t *testing.T) {
	dir := filepath.Join("/run", "without-holders")
	t.Setenv(markVar, "1")
	h, err := RaiseHosts(HostsConfig{Dir: dir, Count: 2, Life: UntilDown})
	must(t, err)
	t.Cleanup(func() { _ = h.Close() }) // the test has failed before
	etcd, err := h.StartEtcd(1)
	must(t, err)
	run := startContainer(t, h.All[0])
	for _, holder := range []home{h.under, h.All[0].Home, h.All[1].Home} {
		must(t, holder.end())
	}
	if count, err := h.All[0].Processes(); err != nil || count != 2 || h.All[0].Alive() { // unshare and its child
		t.Errorf("processes of a host that was killed: %d, %v; want 2", count, err)
	}
	if count, err := h.UnderlayProcesses(); err != nil || count != 1 {
		t.Errorf("processes of an underlay that was killed: %d, %v; want 1", count, err)
	}
	if count, err := h.All[1].Processes(); err != nil || count != 0 {
		t.Errorf("processes of a host that has none: %d, %v", count, err)
	}
	must(t, h.Close())
	if err := errors.Join(run.Stop(unix.SIGKILL), etcd.Close()); err != nil {
		t.Errorf("container and etcd: %v", err)
	}
	nothingLeft(t, dir, h)
}

// The number of a holder that was killed may be that of a process in the machine's namespaces.
func TestHomeOfAnother(t *testing.T) {
	p, err := Start(exec.Command("sleep", "infinity"))
	must(t, err)
	defer func() { must(t, p.Stop(unix.SIGKILL)) }()
	another, err := identify(p.Pid())
	must(t, err)
	gone := home{processID{Pid: another.Pid, Started: another.Started - 1}, newUUID()}
	if found, err := gone.residents(); err != nil || len(found) > 0 {
		t.Errorf("residents %v, %v; want none", found, err)
	}
	if _, err := (home{another.processID, newUUID()}).residents(); err == nil {
		t.Error("a holder that has no namespaces of its own: no error")
	}
}

// nothingLeft expects that hosts are gone, with their directory and all processes of the test.
func nothingLeft(t *testing.T, dir string, h *Hosts) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Close: error %v, want ErrNotExist", dir, err)
	}
	for _, path := range []string{h.Underlay.Path, h.All[0].Path, h.All[1].Path} {
		if _, err := os.Readlink(path); err == nil {
			t.Errorf("namespace %s is still there", path)
		}
	}
	after, err := processes()
	must(t, err)
	for _, p := range after {
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Pid)) // that of another user cannot be read
		if p.alive() && strings.Contains(string(environment), markVar+"=") {
			t.Errorf("process %d is left", p.Pid)
		}
	}
}

func TestRaiseHostsRefuses(t *testing.T) {
	for _, count := range []int{-1, 0, MaxHosts + 1} {
		dir := filepath.Join(t.TempDir(), "up")
		if _, err := RaiseHosts(HostsConfig{Dir: dir, Count: count}); err == nil {
			t.Errorf("%d hosts: no error", count)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%d hosts: directory: error %v, want ErrNotExist", count, err)
		}
	}
}

// A failure in the middle leaves nothing.
func TestRaiseHostsFails(t *testing.T) {
	dir := filepath.Join("/run", "fails")
	_, err := RaiseHosts(HostsConfig{Dir: dir, Count: 2, Plugins: "/proc/none"})
	if err == nil || !strings.HasPrefix(err.Error(), "host1: ") {
		t.Errorf("error %v, want one of host1", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: error %v, want ErrNotExist", dir, err)
	}
}

// A process that nsenter is about to lead into a host's namespaces is one of the host's: nothing of it is left when the host is taken down.
func TestWhoEntersIsAResident(t *testing.T) {
	h := home{processID: processID{Pid: os.Getpid()}}
	// It waits for its input before it enters.
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	for entrance, want := range map[string]bool{fmt.Sprintf("--net=/proc/%d/ns/net", os.Getpid()): true, "--net=/proc/1/ns/net": os.Getpid() == 1} {
		cmd := exec.Command("nsenter", "--mount="+gate, entrance, "true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := identify(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.has(p.processID, nil); got != want {
			t.Errorf("%s: %t, want %t", entrance, got, want)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}
