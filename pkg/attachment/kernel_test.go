package attachment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/flock"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// join makes a veth as fairway's plugins do, with its end in the namespace that a path leads to.
func join(t *testing.T, o state.Owner, netns string) {
	t.Helper()
	testnet.Sh(t, "ip", "link", "add", o.HostLink(), "group", fmt.Sprint(state.Group(o.Network)), "type", "veth", "peer", "name", "placed")
	testnet.Sh(t, "ip", "link", "set", o.HostLink(), "alias", o.Tag())
	testnet.Sh(t, "ip", "link", "set", "placed", "address", o.MAC().String())
	testnet.Sh(t, "ip", "link", "set", "placed", "netns", netns)
	testnet.Sh(t, "nsenter", "--net="+netns, "ip", "link", "set", "placed", "name", o.IfName)
}

// residence is a namespace with a record of an attachment in it, and how it is held.
type residence struct {
	r    Runtime
	p    plugin
	ns   *testnet.Namespace
	lamp *libcni.NetworkConfigList
}

// outlive lets a namespace live on by another process after its path has gone.
func (h residence) outlive(t *testing.T) (end func()) {
	t.Helper()
	cmd := h.ns.Command("sh", "-c", "echo; exec sleep 600")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := h.ns.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill() // it has not been waited for
		_ = cmd.Wait()         // killed
	}
}

func newResidence(t *testing.T) residence {
	t.Helper()
	testnet.NewHost(t)
	p, r := newPlugin(t)
	ns, err := testnet.New("resident")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() }) // most tests have done so
	return residence{r: r, p: p, ns: ns, lamp: networkOf(t, "lamp", "")}
}

func (h residence) alive(t *testing.T) bool {
	t.Helper()
	all, err := h.r.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("listed: %+v, %v", all, err)
	}
	return all[0].Alive()
}

// The interfaces of containers decide, and not the paths that were recorded.
func TestAliveAfterItsPath(t *testing.T) {
	owner := state.Owner{Network: "lamp", ContainerID: "c1", IfName: "eth0"}
	const mac = "02:00:00:00:00:07"
	foreign := func(t *testing.T, h residence, more string) {
		h.r.record(t, entry{ContainerID: "c1", NetworkName: "lamp", IfName: "eth0", Netns: h.ns.Path, Result: json.RawMessage(
			`{"cniVersion": "1.0.0", "interfaces": [` + more + `{"name": "eth0", "mac": "` + mac + `", "sandbox": "` + h.ns.Path + `"}]}`)})
	}
	for name, attach := range map[string]func(t *testing.T, h residence){
		"of fairway's, by the namespace": func(t *testing.T, h residence) { attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path}) },
		"of another runtime, by fairway's host end": func(t *testing.T, h residence) {
			join(t, owner, h.ns.Path)
			foreign(t, h, `{"name": "`+owner.HostLink()+`"}, `)
		},
		"of another plugin, by its host end": func(t *testing.T, h residence) {
			testnet.Sh(t, "ip", "link", "add", "veth7", "type", "veth", "peer", "name", "eth0", "netns", "resident")
			foreign(t, h, `{"name": "veth7"}, `)
		},
		"of another plugin, by the MAC": func(t *testing.T, h residence) {
			h.ns.Sh(t, "ip", "link", "add", "eth5", "address", mac, "type", "bridge")
			foreign(t, h, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newResidence(t)
			attach(t, h)
			if !h.alive(t) {
				t.Error("by its path: stale")
			}
			end := h.outlive(t)
			if !h.alive(t) {
				t.Error("without its path: stale")
			}
			anew, err := testnet.New("resident")
			if err != nil {
				t.Fatal(err)
			}
			if !h.alive(t) {
				t.Error("its path leads to another: stale")
			}
			end()
			if h.alive(t) {
				t.Error("ended, and its path leads to another: alive")
			}
			if err := anew.Close(); err != nil {
				t.Fatal(err)
			}
			if h.alive(t) {
				t.Error("ended: alive")
			}
		})
	}
}

// A namespace that was made anew under the same path is another container's.
func TestAttachAnew(t *testing.T) {
	h := newResidence(t)
	attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	if err := h.ns.Close(); err != nil {
		t.Fatal(err)
	}
	anew := testnet.NewNS(t, "anew")
	if err := os.Symlink(anew.Path, h.ns.Path); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(h.ns.Path)
	h.p.calls(t)
	attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	if diff := cmp.Diff([]string{"DEL c1 eth0", "ADD c1 eth0"}, h.p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// The next one who attaches to a network takes away what a killed container of fairway's has left there.
func TestAttachTakesStaleAway(t *testing.T) {
	h := newResidence(t)
	attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	h.r.record(t, entry{ContainerID: "foreign", NetworkName: "lamp", IfName: "eth0", Netns: "/run/netns/gone"})
	if err := h.ns.Close(); err != nil {
		t.Fatal(err)
	}
	h.p.calls(t)
	attach(t, h.r, h.lamp, Request{ID: "c2", Netns: testnet.NewNS(t, "c2").Path})
	if diff := cmp.Diff([]string{"DEL c1 eth0", "ADD c2 eth0"}, h.p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// What no record is known of is on the network as well: it is listed, named and kept.
func TestUnrecorded(t *testing.T) {
	h := newResidence(t)
	owner := state.Owner{Network: "lamp", ContainerID: "c7", IfName: "eth0"}
	join(t, owner, h.ns.Path)
	all, err := h.r.List()
	if err != nil || len(all) != 1 || !all[0].Unrecorded || all[0].ID != "c7" || all[0].MAC.String() != owner.MAC().String() || !all[0].Alive() {
		t.Fatalf("listed: %+v, %v", all, err)
	}
	err = h.r.Clear(t.Context(), h.lamp, func(error) error { t.Error("it is removed"); return nil })
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "c7") {
		t.Errorf("rm: got %v, want that c7 is on it", err)
	}
	if removed, err := h.r.Collect(t.Context(), []*libcni.NetworkConfigList{h.lamp}); err != nil || len(removed) != 0 {
		t.Errorf("gc: removed %v, %v", removed, err)
	}
	if stdin := h.p.read(t, "stdin.GC"); !strings.Contains(stdin, `{"containerID":"c7","ifname":"eth0"}`) {
		t.Errorf("GC was not told of it: %s", stdin)
	}
	if _, err := h.r.Attach(t.Context(), h.lamp, Request{ID: "other", Netns: h.ns.Path}); err == nil {
		t.Log("another container's ID in the same namespace is another attachment")
	}
	_ = h.ns.Close()
}

// Records lie in other directories too, such as those of Multus.
func TestOtherCaches(t *testing.T) {
	h := newResidence(t)
	elsewhere := h.r
	elsewhere.Cache = filepath.Join(h.r.Cache, "multus")
	attach(t, elsewhere, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	if !h.alive(t) {
		t.Error("stale")
	}
	if err := h.r.Clear(t.Context(), h.lamp, func(error) error { return nil }); !errors.Is(err, ErrInUse) {
		t.Errorf("rm: got %v, want ErrInUse", err)
	}
	h.p.calls(t)
	if err := h.ns.Close(); err != nil {
		t.Fatal(err)
	}
	if removed, err := h.r.Collect(t.Context(), nil); err != nil || len(removed) != 1 {
		t.Errorf("gc: removed %v, %v", removed, err)
	}
	if all, err := elsewhere.List(); err != nil || len(all) != 0 {
		t.Errorf("left: %v, %v", all, err)
	}
}

// A damaged record is named and set aside, and what it was of is found in the kernel.
func TestDamagedRecord(t *testing.T) {
	h := newResidence(t)
	var warnings []string
	h.r.Warn = func(err error) { warnings = append(warnings, err.Error()) }
	owner := state.Owner{Network: "lamp", ContainerID: "c1", IfName: "eth0"}
	join(t, owner, h.ns.Path)
	h.r.file(t, "lamp-c1-eth0", []byte(`{"kind": "cniCache`))
	h.r.Netconf = t.TempDir()
	if err := os.WriteFile(filepath.Join(h.r.Netconf, "lamp.conflist"), h.lamp.Bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.r.Attach(t.Context(), h.lamp, Request{ID: "c1", Netns: h.ns.Path}); !errors.Is(err, ErrConnected) {
		t.Errorf("connect: got %v, want ErrConnected", err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "results/lamp-c1-eth0") {
		t.Errorf("warnings: %q", warnings)
	}
	if _, err := os.Stat(filepath.Join(h.r.dir(), "damaged", "lamp-c1-eth0")); err != nil {
		t.Error(err)
	}
	all, err := h.r.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("listed: %+v, %v", all, err)
	}
	if err := h.r.Detach(t.Context(), all[0]); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"DEL c1 eth0"}, h.p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if _, err := h.r.Collect(t.Context(), []*libcni.NetworkConfigList{h.lamp}); err != nil {
		t.Error(err)
	}
	_ = h.ns.Close()
}

// What a killed process was attaching is taken back by whoever comes next, and by one alone.
func TestInterrupted(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, h residence){
		"connect": func(t *testing.T, h residence) {
			attach(t, h.r, h.lamp, Request{ID: "c2", Netns: testnet.NewNS(t, "c2").Path})
		},
		"connect of the same": func(t *testing.T, h residence) {
			attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
		},
		"gc": func(t *testing.T, h residence) {
			removed, err := h.r.Collect(t.Context(), nil)
			if err != nil || len(removed) != 1 {
				t.Errorf("removed %v, %v", removed, err)
			}
		},
		"rm": func(t *testing.T, h residence) {
			if err := h.r.Clear(t.Context(), h.lamp, func(err error) error { return err }); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newResidence(t)
			conf, rt, err := Request{ID: "c1", Netns: h.ns.Path, IfName: "eth0"}.configure(h.lamp)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.r.begin(t.Context(), conf, rt); err != nil {
				t.Fatal(err)
			}
			if found, err := h.r.Interrupted(); err != nil || len(found) != 0 {
				t.Errorf("while it runs: %v, %v", found, err)
			}
			releaseLocks(t, filepath.Join(h.r.dir(), attachingDir)) // as the kernel does when the process is killed
			if found, err := h.r.Interrupted(); err != nil || len(found) != 1 || found[0].ID != "c1" {
				t.Errorf("after it was killed: %v, %v", found, err)
			}
			next(t, h)
			if calls := h.p.calls(t); calls[0] != "DEL c1 eth0" {
				t.Errorf("calls: %v", calls)
			}
			if found, err := h.r.Interrupted(); err != nil || len(found) != 0 {
				t.Errorf("left: %v, %v", found, err)
			}
		})
	}
}

// releaseLocks closes what this process has open below a directory.
func releaseLocks(t *testing.T, dir string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, dir+"/") {
			var n int
			if _, err := fmt.Sscan(fd.Name(), &n); err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(n) // only locked
		}
	}
}

// A network that was removed while somebody waited for it is not attached to.
func TestAttachToRemoved(t *testing.T) {
	h := newResidence(t)
	file := filepath.Join(t.TempDir(), "lamp.conflist")
	_, err := h.r.Attach(t.Context(), h.lamp, Request{ID: "c1", Netns: h.ns.Path, File: file})
	if !errors.Is(err, conflist.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if calls := h.p.calls(t); calls[0] != "" {
		t.Errorf("the plugin was called: %v", calls)
	}
}

// A plugin that hangs keeps nobody from another network, and who waits for its own is told for whom.
func TestLockOfOneNetwork(t *testing.T) {
	h := newResidence(t)
	unlock, err := h.r.lockShared(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	other := networkOf(t, "other", "")
	if err := h.r.Clear(t.Context(), other, func(err error) error { return err }); err != nil {
		t.Errorf("another network: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = h.r.Clear(ctx, h.lamp, func(err error) error { return err })
	if want := fmt.Sprintf("network lamp: locked by process %d (", os.Getpid()); !errors.Is(err, flock.ErrBusy) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the same network: got %v, want %s…", err, want)
	}
}

// A process that is killed while libcni writes its record leaves a torn one.
func TestInterruptedWhileRecording(t *testing.T) {
	h := newResidence(t)
	conf, rt, err := Request{ID: "c1", Netns: h.ns.Path, IfName: "eth0"}.configure(h.lamp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.r.begin(t.Context(), conf, rt); err != nil {
		t.Fatal(err)
	}
	releaseLocks(t, filepath.Join(h.r.dir(), attachingDir))
	h.r.file(t, "lamp-c1-eth0", nil)
	attach(t, h.r, h.lamp, Request{ID: "c2", Netns: testnet.NewNS(t, "c2").Path})
	if diff := cmp.Diff([]string{"DEL c1 eth0", "ADD c2 eth0"}, h.p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A DEL that outlives its runtime would take from the container what the next ADD gives.
func TestAttachAfterPluginThatGoesOn(t *testing.T) {
	h := newResidence(t)
	plugin := exec.Command("sleep", "600")
	plugin.Env = []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0"}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plugin.Process.Kill() }) // it may have ended
	attach(t, h.r, h.lamp, Request{ID: "c2", Netns: testnet.NewNS(t, "c2").Path})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := h.r.Attach(ctx, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	if want := fmt.Sprintf("network lamp: container c1: process %d, a plugin of an earlier call, is still running (DEL)", plugin.Process.Pid); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if diff := cmp.Diff([]string{"ADD c2 eth0"}, h.p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	ended := make(chan error)
	time.AfterFunc(100*time.Millisecond, func() {
		_ = plugin.Process.Kill() // it runs
		ended <- plugin.Wait()
	})
	attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	<-ended
}

// What is done to an attachment while it is held is done to one that is there, and that nobody detaches.
func TestHold(t *testing.T) {
	h := newResidence(t)
	attach(t, h.r, h.lamp, Request{ID: "c1", Netns: h.ns.Path})
	all, err := h.r.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("listed: %v, %v", all, err)
	}
	a, detached := all[0], make(chan error, 1)
	err = h.r.Hold(t.Context(), a, func() error {
		for _, end := range []func(context.Context) error{
			func(ctx context.Context) error { return h.r.Detach(ctx, a) },
			func(ctx context.Context) error {
				return h.r.Clear(ctx, h.lamp, func(err error) error { return err })
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := end(ctx); !errors.Is(err, flock.ErrBusy) {
				t.Errorf("meanwhile: got %v, want ErrBusy", err)
			}
			cancel()
		}
		go func() { detached <- h.r.Detach(t.Context(), a) }()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-detached; err != nil {
		t.Fatal(err)
	}
	err = h.r.Hold(t.Context(), a, func() error {
		t.Error("called for what was detached")
		return nil
	})
	if !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v, want ErrNotConnected", err)
	}
}
