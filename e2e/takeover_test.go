package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestHostChangesItsSuite: upstream's plugins are replaced by fairway's while a container of theirs runs, and later the other way round. Who runs
// keeps its ports, who goes leaves nothing, and nobody gets an address that another has.
func TestHostChangesItsSuite(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) { changeSuites(t, version) })
	}
}

func changeSuites(t *testing.T, version string) {
	t.Helper()
	writeConf(t, fmt.Sprintf(`{
		"cniVersion": "%[1]s",
		"name": "moving-%[1]s",
		"plugins": [
			{"type": "bridge", "bridge": "moving0", "isDefaultGateway": true, "ipMasq": true, "ipam": {
				"type": "host-local", "ranges": [[{"subnet": "10.64.0.0/24"}]]}},
			{"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
			{"type": "firewall", "ingressPolicy": "same-bridge"}
		]
	}`, version))
	o := newOutside(t)
	removeLink(t, "moving0")
	network := "moving-" + version
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	theirs := "CNI_PATH=" + filepath.Join(root, ".tools")
	ours := "CNI_PATH=" + pluginDir
	call := func(suite, verb string, ns *testnet.Namespace, port int) string {
		t.Helper()
		mapping := fmt.Sprintf(`CAP_ARGS={"portMappings": [{"hostPort": %d, "containerPort": 80, "protocol": "tcp"}]}`, port)
		return succeed(t, with(cnitool(t, verb, network, ns), mapping, suite))
	}
	wantPort := func(port, answer string) {
		t.Helper()
		wantAnswer(t, o.ns, hostV4, port, answer)
	}
	a, b, c := testnet.NewNS(t, "a"), testnet.NewNS(t, "b"), testnet.NewNS(t, "c")
	for name, ns := range map[string]*testnet.Namespace{"a": a, "b": b, "c": c} {
		serve(t, ns, "80", func(net.Conn) string { return name })
	}
	wantAddresses(t, call(theirs, "add", a, 8081), "10.64.0.2/24")
	wantPort("8081", "a")

	call(ours, "check", a, 8081)
	wantAddresses(t, call(ours, "add", b, 8082), "10.64.0.3/24")
	wantPort("8081", "a")
	wantPort("8082", "b")
	call(ours, "del", a, 8081)
	call(ours, "del", a, 8081)
	if rules := succeed(t, command(t, "nft", "list", "ruleset")); strings.Contains(rules, "CNI-") || strings.Contains(rules, "10.64.0.2") {
		t.Errorf("rules of upstream's plugins are left:\n%s", rules)
	}
	wantPort("8082", "b")
	wantAddresses(t, call(ours, "add", a, 8081), "10.64.0.4/24")

	wantAddresses(t, call(theirs, "add", c, 8083), "10.64.0.5/24")
	for port, name := range map[string]string{"8081": "a", "8082": "b", "8083": "c"} {
		wantPort(port, name)
	}
	call(theirs, "del", b, 8082)
	succeed(t, with(fairway(t, "gc"), theirs))
	if left := elements(t, network); len(left) != 1 {
		t.Errorf("owners of elements beside a: %v", left)
	}
	wantPort("8081", "a")
	wantPort("8083", "c")
	call(theirs, "del", a, 8081)
	call(theirs, "del", c, 8083)
	succeed(t, with(fairway(t, "gc"), theirs))
	wantNothing(t, network)
}
