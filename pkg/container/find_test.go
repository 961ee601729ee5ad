package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var public = cmpopts.IgnoreUnexported(Container{})

// world is a containerd with two namespaces and a pod, and a cache with a container of podman's beside.
func world(t *testing.T) Finder {
	t.Helper()
	pod := testnet.NewNS(t, "pod").Path
	box := testnet.NewNS(t, "box").Path
	d := startDaemon(t, map[string]space{
		"default": {
			containers: []*containersapi.Container{
				labelled("web", "", nil), labelled("77aa", "", map[string]string{labelNerdctl: "shop"}), labelled("idle", "", nil),
				labelled("over", "", nil),
			},
			tasks: []*task.Process{running("web", 4000001), running("77aa", 4000002), {ID: "over", Pid: 4000009, Status: task.Status_STOPPED}},
		},
		"other": {
			containers: []*containersapi.Container{labelled("web", "", nil)},
			tasks:      []*task.Process{running("web", 4000003)},
		},
		"k8s.io": {
			containers: []*containersapi.Container{
				labelled("c0ffee", pod, map[string]string{labelKind: "container", labelPod: "dns-1", labelPodNamespace: "kube", labelContainer: "dns"}),
				labelled("5a4d", pod, map[string]string{labelKind: "sandbox", labelPod: "dns-1", labelPodNamespace: "kube"}),
			},
			tasks: []*task.Process{running("c0ffee", 4000004), running("5a4d", 4000005)},
		},
	})
	return Finder{Address: "unix://" + d.address, Attached: []attachment.Attachment{
		{Network: "boxes", ID: "b0b0", Name: "db", IfName: "eth0", Netns: box},
		{Network: "second", ID: "b0b0", Name: "db", IfName: "eth1", Netns: box},
		{Network: "boxes", ID: "gone", Name: "gone", IfName: "eth0", Netns: "/run/netns/gone"},
	}}
}

func TestFind(t *testing.T) {
	f := world(t)
	pod, box := f.podPath(t), f.Attached[0].Netns
	shop := Container{ID: "default-77aa", Name: "shop", Netns: "/proc/4000002/ns/net", Runtime: "containerd namespace default"}
	dns := Container{ID: "5a4d", Name: "dns-1", Netns: pod, Runtime: "containerd namespace k8s.io"}
	db := Container{ID: "b0b0", Name: "db", Netns: box, Runtime: "CNI's cache"}
	for _, test := range []struct {
		ref  string
		want Container
		is   error
		says string
	}{
		{ref: "shop", want: shop},
		{ref: "77aa", want: shop},
		{ref: "77", want: shop},
		{ref: "default-77aa", want: shop},
		{ref: "default-web", want: Container{ID: "default-web", Name: "web", Netns: "/proc/4000001/ns/net", Runtime: "containerd namespace default"}},
		{ref: "web", is: ErrAmbiguous, says: "containerd namespace other"},
		{ref: "dns-1", want: dns},
		{ref: "kube/dns-1", want: dns},
		{ref: "dns", want: dns},
		{ref: "c0ff", want: dns},
		{ref: "db", want: db},
		{ref: "b0", want: db},
		{ref: "idle", is: ErrNotRunning},
		{ref: "over", is: ErrNotRunning},
		{ref: "gone", is: ErrNotFound},
		{ref: "", is: ErrNotFound},
	} {
		t.Run(test.ref, func(t *testing.T) {
			got, err := f.Find(t.Context(), test.ref)
			if !errors.Is(err, test.is) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got error %v, want %v with %q", err, test.is, test.says)
			}
			if diff := cmp.Diff(test.want, got, public); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// podPath is the namespace of the pod, which world named after the test.
func (f Finder) podPath(t *testing.T) string {
	t.Helper()
	return strings.TrimSuffix(f.Attached[0].Netns, "box") + "pod"
}

func TestList(t *testing.T) {
	f := world(t)
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"db", "dns-1", "shop", "web", "web"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNames: records of nerdctl tell no name, and are listed by the one that containerd knows.
func TestNames(t *testing.T) {
	d := startDaemon(t, map[string]space{
		"default": {containers: []*containersapi.Container{
			labelled("77aa", "", map[string]string{labelNerdctl: "shop"}), labelled("88bb", "", nil),
		}},
		"k8s.io": {containers: []*containersapi.Container{
			labelled("99cc", "", map[string]string{labelKind: "sandbox", labelPod: "web", labelPodNamespace: "prod"}),
		}},
	})
	want := map[string]string{"default-77aa": "shop", "99cc": "web"}
	if diff := cmp.Diff(want, Names(t.Context(), d.address)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Names(t.Context(), d.address+"-none"); len(got) != 0 {
		t.Errorf("without containerd: %v", got)
	}
}

// TestKnownToCNI: ctr and CRI attach with IDs of their own, and by a path that lasts longer than a process of the container.
func TestKnownToCNI(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	again := filepath.Join(t.TempDir(), "again")
	if err := os.WriteFile(again, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	testnet.Sh(t, "mount", "--bind", ns.Path, again)
	t.Cleanup(func() { testnet.Sh(t, "umount", again) })
	d := startDaemon(t, map[string]space{"default": {
		containers: []*containersapi.Container{labelled("77aa", again, map[string]string{labelNerdctl: "shop"})},
		tasks:      []*task.Process{running("77aa", 4000002)},
	}})
	f := Finder{Address: d.address, Attached: []attachment.Attachment{{Network: "n", ID: "own-id", IfName: "eth0", Netns: ns.Path}}}
	for ref, want := range map[string]Container{
		"shop":           {ID: "own-id", Name: "shop", Netns: ns.Path, Runtime: "containerd namespace default"},
		"own-id":         {ID: "own-id", Name: "shop", Netns: ns.Path, Runtime: "containerd namespace default"},
		"netns:" + again: {ID: "own-id", Name: "again", Netns: ns.Path},
	} {
		got, err := f.Find(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		if diff := cmp.Diff(want, got, public); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
	}
}

// TestKnownByAProcess: a process by which the namespace was found may end before the path that was named.
func TestKnownByAProcess(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	cmd := exec.Command("nsenter", "--net="+ns.Path, "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it runs
		_ = cmd.Wait()         // killed
	}()
	there, err := kernel.Identify(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if id, err := kernel.Identify(path); err == nil && id.Is(there) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the process does not enter the namespace")
		}
	}
	ns.Sh(t, "ip", "link", "add", "eth0", "address", "02:00:00:00:00:07", "type", "bridge")
	f := Finder{Attached: []attachment.Attachment{{
		Network: "n", ID: "own-id", IfName: "eth0", Netns: path, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7},
	}}}
	got, err := f.Find(t.Context(), "netns:"+ns.Path)
	if want := (Container{ID: "own-id", Name: filepath.Base(ns.Path), Netns: ns.Path}); err != nil || !cmp.Equal(want, got, public) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestFindByPath(t *testing.T) {
	ns := testnet.NewNS(t, "c")
	name := filepath.Base(ns.Path)
	pid := fmt.Sprint(os.Getpid())
	for ref, want := range map[string]Container{
		"netns:" + ns.Path: {ID: name, Name: name, Netns: ns.Path},
		"netns:" + name:    {ID: name, Name: name, Netns: ns.Path},
		"netns:/proc/thread-self/ns/net": {
			ID: pathID("/proc/thread-self/ns/net"), Name: "net", Netns: "/proc/thread-self/ns/net"},
		"pid:" + pid: {ID: "pid-" + pid, Name: "pid:" + pid, Netns: "/proc/" + pid + "/ns/net"},
	} {
		got, err := Finder{}.Find(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		if diff := cmp.Diff(want, got, public); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
	}
	for ref, want := range map[string]string{
		"pid:":                    "give the number of a process",
		"pid:-1":                  "give the number of a process",
		"pid:1x":                  "give the number of a process",
		"pid:0":                   "give the number of a process",
		"pid:2147483647":          "pid:2147483647: process not found",
		"netns:":                  "give the path of a network namespace",
		"netns:none":              "netns:/run/netns/none not found",
		"netns:/etc/passwd":       "not a network namespace",
		"netns:/proc/self/ns/uts": "not a network namespace",
	} {
		if _, err := (Finder{}).Find(t.Context(), ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", ref, err, want)
		}
	}
}

func TestWithoutContainerd(t *testing.T) {
	f := Finder{Address: "/run/none.sock", Attached: []attachment.Attachment{{ID: "c1", Netns: testnet.NewNS(t, "c").Path}}}
	if _, err := f.Find(t.Context(), "c1"); err != nil {
		t.Errorf("of the cache: %v", err)
	}
	_, err := f.Find(t.Context(), "web")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "containerd could not be asked") {
		t.Errorf("got %v, want that containerd could not be asked", err)
	}
}

func TestBrokenDaemon(t *testing.T) {
	listener, err := net.Listen("unix", "/run/deaf.sock")
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close() // what a daemon leaves that was killed
	_, err = Finder{Address: "/run/deaf.sock"}.List(t.Context())
	if err == nil || !strings.Contains(err.Error(), "containerd at /run/deaf.sock: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want that the connection was refused", err)
	}
}

func TestPathID(t *testing.T) {
	for path, want := range map[string]string{
		"/run/netns/web":     "web",
		"/var/run/netns/web": "web",
		"/run/netns/-web":    "netns-d36dedf3fa99449d",
		"/mnt/netns/web":     "netns-bd07118b2e9b9bdc",
	} {
		if got := pathID(path); got != want || !isName(got) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}
