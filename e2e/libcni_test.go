package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// libraries are releases of libcni from one with a cache of results and CHECK to the newest, each with the newest cniVersion that it knows.
// scripts/install-test-tools builds the tool of each.
var libraries = []struct{ release, newest string }{
	{"v0.7.1", "0.4.0"},
	{"v0.8.1", "0.4.0"},
	{"v1.0.1", "1.0.0"},
	{"v1.1.2", "1.0.0"},
	{"v1.2.3", "1.1.0"},
	{"v1.3.1", "1.1.0"},
}

// TestEveryLibcni: what runtimes call, through each release of libcni, in its newest cniVersion and in one that older lists have: DEL before
// anything is there, ADDs of two containers at once with CNI_ARGS and ports, CHECK, STATUS, DEL twice. The list has what nerdctl and podman
// write into theirs.
func TestEveryLibcni(t *testing.T) {
	o := newOutside(t)
	removeLink(t, "each0")
	for _, library := range libraries {
		for _, version := range []string{"0.3.1", library.newest} {
			t.Run(library.release+" "+version, func(t *testing.T) {
				noAddresses(t)
				writeConf(t, fmt.Sprintf(eachConf, version))
				runEach(t, o, library.release, version)
			})
		}
	}
}

const eachConf = `{
	"cniVersion": %q,
	"name": "each",
	"plugins": [
		{"type": "bridge", "bridge": "each0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
			"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
			"ranges": [[{"subnet": "10.57.0.0/24", "gateway": "10.57.0.1"}], [{"subnet": "fd57::/64"}]]}},
		{"type": "portmap", "capabilities": {"portMappings": true}},
		{"type": "firewall", "ingressPolicy": "same-bridge"},
		{"type": "tuning"}
	]
}`

func runEach(t *testing.T, o outside, release, version string) {
	t.Helper()
	containers := map[string]*testnet.Namespace{"8080": testnet.NewNS(t, "a"), "8081": testnet.NewNS(t, "b")}
	call := func(verb, port string) *exec.Cmd {
		cmd := command(t, filepath.Join(filepath.Dir(tool(t, "x")), "libcni-"+release, "cnitool"), verb, "each", containers[port].Path)
		return with(cmd, "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
			`CAP_ARGS={"portMappings": [{"hostPort": `+port+`, "containerPort": 80, "protocol": "tcp"}]}`)
	}
	each := func(verb string) { // at once
		t.Helper()
		var group sync.WaitGroup
		for port := range containers {
			cmd := call(verb, port)
			group.Go(func() {
				if _, said, err := run(cmd); err != nil {
					t.Errorf("%s: %v: %s", verb, err, said)
				}
			})
		}
		group.Wait()
	}
	each("del")
	each("add")
	for port, ns := range containers {
		serve(t, ns, webPort, func(net.Conn) string { return port })
		for _, host := range []string{hostV4, hostV6} {
			wantAnswer(t, o.ns, host, port, port)
		}
	}
	if version >= "0.4.0" {
		each("check")
	}
	if version >= "1.1.0" {
		each("status")
	}
	each("del")
	each("del")
	wantNothing(t, "each")
	for _, ns := range containers {
		if got := strings.TrimSpace(succeed(t, commandIn(t, ns.Path, "ip", "-o", "link"))); strings.Contains(got, "eth0") {
			t.Errorf("links left: %s", got)
		}
	}
}
