package main

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNetworkFlag(t *testing.T) {
	for _, test := range []struct {
		text, name string
		want       endpointFlags
		err        string
	}{
		{text: "lamp", name: "lamp"},
		{text: "name=lamp,alias=a,alias=b", name: "lamp", want: endpointFlags{aliases: []string{"a", "b"}}},
		{text: "lamp,ip=10.5.0.2,ip6=fd05::2,mac-address=02:00:00:00:00:01,ifname=net1", name: "lamp",
			want: endpointFlags{ip: "10.5.0.2", ip6: "fd05::2", mac: "02:00:00:00:00:01", ifname: "net1"}},
		{text: "alias=a,name=lamp", name: "lamp", want: endpointFlags{aliases: []string{"a"}}},
		{text: "", err: `--network "": a network is missing`},
		{text: "ip=10.5.0.2", err: `--network "ip=10.5.0.2": a network is missing`},
		{text: "lamp,web", err: `--network "lamp,web": "web" is none of name, ip, ip6, alias, mac-address, ifname, gw-priority, driver-opt`},
		{text: "lamp,GW-Priority=-1", name: "lamp", want: endpointFlags{priority: -1}},
		{text: `lamp,"alias=a,b",driver-opt=com.docker.network.endpoint.ifname=net1`, name: "lamp", want: endpointFlags{aliases: []string{"a,b"}, ifname: "net1"}},
		{text: "lamp,gw-priority=high", err: `--network "lamp,gw-priority=high": gw-priority is "high": give a whole number`},
		{text: "lamp,driver-opt=a=b", err: `--network "lamp,driver-opt=a=b": driver-opt "a=b": there is com.docker.network.endpoint.ifname=NAME alone`},
		{text: "lamp\nback", err: "--network \"lamp\\nback\": give NETWORK,KEY=VALUE…, and quote a whole part: it has several lines"},
	} {
		name, got, err := parseNetworkFlag(test.text)
		if err != nil || test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%q: got error %v, want %s", test.text, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(endpointFlags{})); diff != "" || name != test.name {
			t.Errorf("%q: network %q (-want +got):\n%s", test.text, name, diff)
		}
	}
}

func TestRunErrors(t *testing.T) {
	s := newShell(t)
	s.network(t, "lamp", dualStack)
	const see = "\nSee 'fairway run --help'."
	for _, test := range []struct {
		want string
		args []string
	}{
		{"fairway: network nosuch not found", []string{"--network", "nosuch"}},
		{"fairway: network lamp has no subnet with the address 10.9.0.1: choose one of 10.5.0.0/24 or fd05::/64",
			[]string{"--network", "lamp,ip=10.9.0.1"}},
		{"fairway: network lamp: the requested address 10.5.0.1 is the gateway of its subnet: request another one",
			[]string{"--network", "lamp", "--ip", "10.5.0.1"}},
		{"fairway: --ip 10.5.0.8 and --network …,ip=10.5.0.9 ask for the same: give one" + see, []string{"--network", "lamp,ip=10.5.0.9", "--ip", "10.5.0.8"}},
		{"fairway: --network none cannot be combined with another network" + see, []string{"--network", "lamp", "--network", "none"}},
		{"fairway: --network host: there is no address, name or interface to ask for" + see, []string{"--network", "host", "--alias", "web"}},
		{`fairway: --dns "one": give the address of a server` + see, []string{"--network", "host", "--dns", "one"}},
		{`fairway: --dns-search "a\nnameserver 192.0.2.6": give a domain, or '.' for none` + see, []string{"--dns-search", "a\nnameserver 192.0.2.6"}},
		{`fairway: --dns-search "a b": give a domain, or '.' for none` + see, []string{"--dns-search", "a b"}},
		{`fairway: --dns-option "a\nnameserver 192.0.2.6": give one option of resolv.conf(5), such as ndots:1` + see, []string{"--dns-opt", "a\nnameserver 192.0.2.6"}},
		{`fairway: --env-file: open /nowhere: no such file or directory` + see, []string{"--env-file", "/nowhere"}},
		{`fairway: --sig-proxy=false: signals are passed on in any case: give --detach for a command that gets none` + see, []string{"--sig-proxy=false"}},
		{`fairway: --dns "one": give the address of a server` + see, []string{"--dns", "one"}},
		{`fairway: --add-host "db": write NAME:ADDRESS` + see, []string{"--add-host", "db"}},
		{`fairway: --add-host "db=host": write NAME:ADDRESS, or NAME:host-gateway` + see, []string{"--add-host", "db=host"}},
		{`fairway: --sysctl "kernel.hostname=a": give a parameter of the network, such as net.ipv4.ip_unprivileged_port_start=0` + see, []string{"--sysctl", "kernel.hostname=a"}},
		{`fairway: --sysctl "net/../kernel/hostname=a": give a parameter of the network, such as net.ipv4.ip_unprivileged_port_start=0` + see, []string{"--sysctl", "net/../kernel/hostname=a"}},
		{`fairway: --user "no-such": there is no user no-such on this machine` + see, []string{"-u", "no-such"}},
		{`fairway: --user "0:no-such": there is no group no-such on this machine` + see, []string{"-u", "0:no-such"}},
		{`fairway: --workdir "/etc/hosts": give the path of a directory of this machine, from /` + see, []string{"-w", "/etc/hosts"}},
		{`fairway: --domainname "a b": use up to 64 letters, digits, '-', '_' and '.'` + see, []string{"--domainname", "a b"}},
		{"fairway: --network host: parameters of the host's network are not set by a container" + see, []string{"--network", "host", "--sysctl", "net.a=1"}},
		{"fairway: container no-such not found: containerd could not be asked: stat /run/containerd/containerd.sock: no such file or directory", []string{"--network", "container:no-such"}},
		{"fairway: --network container: addresses, names, ports, parameters and DNS servers are those of the other container" + see, []string{"--network", "container:web", "-p", "80:80"}},
		{"fairway: --network container:web cannot be combined with another network" + see, []string{"--network", "container:web", "--network", "lamp"}},
		{`fairway: unknown flag: --nosuch` + see, []string{"--nosuch"}},
		{`fairway: --hostname "a b": use up to 64 letters, digits, '-', '_' and '.'` + see, []string{"--hostname", "a b"}},
		{`fairway: --name "a/b": use letters, digits, '-', '_' and '.'` + see, []string{"--name", "a/b"}},
	} {
		args := append([]string{"run"}, append(test.args, "true")...)
		s.fail(t, test.want, args...)
		if _, _, status := s.run(args...); status != runFailure {
			t.Errorf("%s: status %d", args, status)
		}
	}
}

// TestGatewayPriority: the network of the highest priority comes first, which has the default route; of equal ones, the order is kept.
func TestGatewayPriority(t *testing.T) {
	s := newShell(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		s.network(t, name, dualStack)
	}
	networks, err := (&env{netconfDir: s.dir, stderr: io.Discard}).networks()
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := endpoints(networks, []string{"a", "b,gw-priority=2", "c,gw-priority=-1", "d"}, endpointFlags{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Network.Name)
	}
	if diff := cmp.Diff([]string{"b", "a", "d", "c"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
