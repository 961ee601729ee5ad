package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestCRI(t *testing.T) {
	for version, start := range containerds {
		t.Run("containerd "+version, func(t *testing.T) { testCRI(t, start) })
	}
}

func testCRI(t *testing.T, start func(t *testing.T) containerd) {
	t.Helper()
	noAddresses(t)
	writeConf(t, `{
		"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"],
		"name": "pods",
		"plugins": [
			{"type": "bridge", "bridge": "pods0", "isDefaultGateway": true, "ipMasq": true, "ipam": {
				"type": "host-local", "ranges": [[{"subnet": "10.67.0.0/24"}], [{"subnet": "fd67::/64"}]]}},
			{"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
		]
	}`)
	o := newOutside(t)
	o.mirror(t)
	removeLink(t, "pods0")
	k := newKubelet(t, start(t))

	web := k.run(t, "web", &cri.PortMapping{Protocol: cri.Protocol_TCP, HostPort: 8080, ContainerPort: 80})
	client := k.run(t, "client")
	want := [][]string{{"10.67.0.2", "fd67::2"}, {"10.67.0.3", "fd67::3"}}
	if diff := cmp.Diff(want, [][]string{web.addresses, client.addresses}); diff != "" {
		t.Errorf("addresses of the pods (-want +got):\n%s", diff)
	}

	shell := k.start(t, client, "shell")
	for _, url := range []string{"http://10.67.0.2/", "http://[fd67::2]/"} {
		if got := k.execute(t, shell, "wget", "-q", "-O-", url); got != webPage {
			t.Errorf("%s from another pod: got %q, want %q", url, got, webPage)
		}
	}
	if got := k.execute(t, shell, "nc", outsideV4, mirrorPort); got != hostV4 {
		t.Errorf("address seen by the outside: got %q, want %q", got, hostV4)
	}
	for _, host := range []string{hostV4, "[" + hostV6 + "]"} {
		o.wantPage(t, "http://"+host+":8080/", webPage)
	}

	k.stop(t, web)
	k.stop(t, client)
	wantNothing(t, "pods")
	if answer, err := ask(o.ns, hostV4, "8080"); err == nil {
		t.Errorf("host port of a pod that is stopped: got %q, want an error", answer)
	}
}

// TestStatusUnderCRI: containerd 2 takes any error of STATUS for a node without a network, on which a kubelet starts no container
// again. A range that is full, with pods that have their addresses, is none; a network that no pod could ever join is.
func TestStatusUnderCRI(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.1.0",
		"name": "few",
		"plugins": [{"type": "bridge", "bridge": "few0", "isDefaultGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.64.0.0/30"}]]}}]
	}`)
	removeLink(t, "few0")
	k := newKubelet(t, startContainerd2(t))
	only := k.run(t, "only") // .1 is the gateway's, .2 the pod's
	shell := k.start(t, only, "shell")
	if ready, why := k.networkReady(t); !ready {
		t.Errorf("with a full range: not ready, %s", why)
	}
	call(t, k.runtime.StopContainer, &cri.StopContainerRequest{ContainerId: shell})
	call(t, k.runtime.RemoveContainer, &cri.RemoveContainerRequest{ContainerId: shell})
	if got := k.execute(t, k.start(t, only, "shell"), "ip", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(got, "10.64.0.2/30") {
		t.Errorf("addresses of a container that was started again: %s", got)
	}
	k.stop(t, only)
	call(t, k.runtime.RemovePodSandbox, &cri.RemovePodSandboxRequest{PodSandboxId: only.id})
	wantNothing(t, "few")

	writeConf(t, `{"cniVersion": "1.1.0", "name": "never", "plugins": [{"type": "macvlan", "master": "none0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.63.0.0/24"}]]}}]}`)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // containerd reads the directory when it hears of a change
		ready, why := k.networkReady(t)
		if !ready && strings.Contains(why, "none0") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without a master: ready %t, %s", ready, why)
		}
	}
}

// networkReady is what the runtime tells a kubelet of the node's network, and why.
func (k kubelet) networkReady(t *testing.T) (ready bool, why string) {
	t.Helper()
	for _, c := range call(t, k.runtime.Status, &cri.StatusRequest{}).Status.Conditions {
		if c.Type == cri.NetworkReady {
			return c.Status, c.Reason + ": " + c.Message
		}
	}
	t.Fatal("the runtime does not tell of its network")
	return false, ""
}

// wantPage fetches a page from the outside.
func (o outside) wantPage(t *testing.T, url, want string) {
	t.Helper()
	got := succeed(t, commandIn(t, o.ns.Path, "busybox", "wget", "-q", "-O-", url))
	if got != want {
		t.Errorf("%s from the outside: got %q, want %q", url, got, want)
	}
}
