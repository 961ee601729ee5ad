package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestCRI(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.0.0",
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
	k := newKubelet(t, startContainerd(t))

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

// wantPage fetches a page from the outside.
func (o outside) wantPage(t *testing.T, url, want string) {
	t.Helper()
	got := succeed(t, commandIn(t, o.ns.Path, "busybox", "wget", "-q", "-O-", url))
	if got != want {
		t.Errorf("%s from the outside: got %q, want %q", url, got, want)
	}
}
