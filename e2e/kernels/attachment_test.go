package kernels

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// conf is a network's configuration.
type conf map[string]any

// network is the configuration of a network, as a runtime gives it to the plugin. A value of nil leaves a key out.
func network(plugin, name string, keys conf) conf {
	c := conf{"cniVersion": "1.1.0", "name": name, "type": plugin}
	maps.Copy(c, keys)
	maps.DeleteFunc(c, func(_ string, value any) bool { return value == nil })
	return c
}

// ranges is host-local of one subnet of each family that the kernel has.
func ranges(subnets ...string) conf {
	var sets [][]conf
	for _, s := range subnets {
		if testnet.HasIPv6() || !strings.Contains(s, ":") {
			sets = append(sets, []conf{{"subnet": s}})
		}
	}
	return conf{"type": "host-local", "ranges": sets}
}

// attachment is a container's interface eth0 in a network.
type attachment struct {
	host, container *testnet.Namespace
	id, netns       string
	conf            conf
	result          *types100.Result
}

// attach runs ADD for a new container.
func attach(t *testing.T, host *testnet.Namespace, id string, c conf) *attachment {
	t.Helper()
	container := testnet.NewNS(t, id)
	a := &attachment{host: host, container: container, id: id, netns: container.Path, conf: c}
	a.add(t)
	return a
}

// attachOn does so on a host that has files of its own.
func attachOn(t *testing.T, host *testnet.Host, id string, c conf) *attachment {
	t.Helper()
	ip(t, host.Namespace, "netns add "+id)
	netns := "/run/netns/" + id
	a := &attachment{host: host.Namespace, container: &testnet.Namespace{Path: host.File(netns)}, id: id, netns: netns, conf: c}
	a.add(t)
	return a
}

func (a *attachment) add(t *testing.T) {
	t.Helper()
	stdout, err := a.call("ADD", nil)
	if err != nil {
		t.Fatalf("ADD %s: %v\n%s", a.id, err, stdout)
	}
	a.result = &types100.Result{}
	if err := json.Unmarshal([]byte(stdout), a.result); err != nil {
		t.Fatalf("ADD %s: %v\n%s", a.id, err, stdout)
	}
}

// call runs a verb, with further keys in the configuration.
func (a *attachment) call(verb string, keys conf) (stdout string, err error) {
	c := maps.Clone(a.conf)
	if a.result != nil {
		c["prevResult"] = a.result
	}
	maps.Copy(c, keys)
	stdin, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd := a.host.Command(filepath.Join(binDir, a.conf["type"].(string)))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &out
	cmd.Env = append(cmd.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+a.id, "CNI_IFNAME=eth0", "CNI_NETNS="+a.netns, "CNI_PATH="+binDir)
	err = cmd.Run()
	return out.String(), err
}

// succeed runs a verb that prints nothing.
func (a *attachment) succeed(t *testing.T, verb string) {
	t.Helper()
	if out, err := a.call(verb, nil); err != nil || out != "" {
		t.Fatalf("%s %s: %v\n%s", verb, a.id, err, out)
	}
}

// collect runs GC with the attachments that are valid.
func (a *attachment) collect(t *testing.T, valid ...*attachment) {
	t.Helper()
	list := []conf{}
	for _, v := range valid {
		list = append(list, conf{"containerID": v.id, "ifname": "eth0"})
	}
	if out, err := a.call("GC", conf{"cni.dev/valid-attachments": list}); err != nil || out != "" {
		t.Fatalf("GC: %v\n%s", err, out)
	}
}

// reaches expects every address of another container to answer.
func (a *attachment) reaches(t *testing.T, other *attachment) {
	t.Helper()
	for _, ip := range other.result.IPs {
		answers(t, a.container, ip.Address.IP.String())
	}
}

// isCutOff expects no address of another container to answer.
func (a *attachment) isCutOff(t *testing.T, other *attachment) {
	t.Helper()
	for _, ip := range other.result.IPs {
		silent(t, a.container, ip.Address.IP.String())
	}
}
