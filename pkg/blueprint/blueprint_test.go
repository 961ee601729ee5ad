package blueprint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// installed are plugins by their type, each with the CNI versions it knows.
type installed map[string]string

func (i installed) Versions(_ context.Context, plugin string) ([]string, error) {
	versions, ok := i[plugin]
	if !ok {
		return nil, fmt.Errorf("%w as %q", driver.ErrNoPlugin, plugin)
	}
	return strings.Fields(strings.TrimPrefix(versions, "fairway ")), nil
}

func (i installed) Fairway(_ context.Context, plugin string) bool {
	return strings.HasPrefix(i[plugin], "fairway ")
}

// site is a host with docker0, an office's network on eth0, and some networks.
func site() Site {
	taken := func(prefix, by string) pools.Taken { return pools.Taken{Prefix: netip.MustParsePrefix(prefix), By: by} }
	network := func(name, driver, link string, subnets ...string) conflist.Network {
		n := conflist.Network{Name: name, ID: conflist.IDOf(name), Driver: driver, Link: link, Options: map[string]string{}, IPAM: conflist.IPAM{Driver: "default"}}
		for _, subnet := range subnets {
			n.IPAM.Pools = append(n.IPAM.Pools, conflist.Pool{Subnet: netip.MustParsePrefix(subnet)})
		}
		return n
	}
	front := network("front", "bridge", "br-front", "172.18.0.0/16", "fd00:18::/64")
	front.Options = map[string]string{"com.docker.network.bridge.name": "br-front", "com.docker.network.driver.mtu": "1400"}
	front.Labels = map[string]string{"tier": "front"}
	base := network("base", "null", "", "10.77.0.0/24")
	base.ConfigOnly, base.Options, base.Labels = true, map[string]string{dockerMTU: "1300"}, map[string]string{"from": "base"}
	lan := network("lan", "macvlan", "eth1", "192.0.2.0/24")
	lan.Options["macvlan_mode"] = "passthru"
	return Site{
		Networks: conflist.Networks{All: []conflist.Network{front, base, lan, network("bridge", "bridge", "fwbridge0", "10.87.0.0/16")}},
		Host: pools.Host{
			Links:    map[string]string{"eth0": "device", "eth1": "device", "docker0": "bridge"},
			Identity: "3d1219c7c4c5404aaa1f6d2a48adfda4",
			Taken: []pools.Taken{
				taken("172.17.0.0/16", "the address 172.17.0.1/16 of docker0"),
				taken("198.51.100.0/24", "the route 198.51.100.0/24 dev eth0"),
				taken("172.19.0.53/32", "the nameserver 172.19.0.53"),
			},
		},
		Plugins: installed{
			"bridge": "fairway 0.3.1 0.4.0 1.0.0 1.1.0", "macvlan": "fairway 1.0.0 1.1.0", "overlay-vxlan": "fairway 1.0.0 1.1.0",
			"portmap": "0.4.0 1.0.0", "dhcp": "1.0.0 1.1.0", "calico": "0.3.1 0.4.0", "ptp": "1.0.0 1.1.0", "ipvlan": "1.0.0 1.1.0",
			"host-local": "fairway 1.0.0 1.1.0", "odd": "0.9.9",
		},
		Now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

const peers = "peers=192.0.2.11=10.42.1.0/24,192.0.2.12=10.42.2.0/24+10.42.3.0/24"

func TestDraw(t *testing.T) {
	for name, o := range map[string]Order{
		"bridge": {},
		"bridge-addresses": {
			Subnets: []string{"fd00:5::/64", "10.5.0.0/16"}, Gateways: []string{"10.5.9.254", "fd00:5::fe"}, Ranges: []string{"10.5.9.0/24"},
			Aux: []string{"printer=10.5.9.5", "nas=10.5.9.0", "scanner=10.5.9.6", "far=10.5.200.1"},
		},
		"bridge-aux-first": {Subnets: []string{"10.5.0.0/29"}, Aux: []string{"router=10.5.0.1", "last=10.5.0.6"}},
		"bridge-ipv6":      {IPv6: true},
		"bridge-ipv6-only": {IPv6: true, NoIPv4: true},
		"bridge-internal":  {Internal: true, Attachable: true, Labels: []string{"a=b", "c"}},
		"bridge-options": {Options: []string{
			"com.docker.network.bridge.name=shop0", "com.docker.network.bridge.enable_icc=false", "com.docker.network.driver.mtu=1400",
			"com.docker.network.bridge.enable_ip_masquerade=false", "hairpinMode=false", "macspoofchk=1", `vlanTrunk=[{"id": 5}]`,
		}},
		"bridge-routed":   {Options: []string{"com.docker.network.bridge.gateway_mode_ipv4=routed"}},
		"bridge-promisc":  {Options: []string{"promiscMode=true"}},
		"bridge-dhcp":     {IPAMDriver: "dhcp", IPAMOptions: []string{"daemonSocketPath=/run/dhcp.sock", "n=5"}},
		"bridge-l2":       {IPAMDriver: "none"},
		"macvlan":         {Driver: "macvlan", Subnets: []string{"198.51.100.0/24"}, Gateways: []string{"198.51.100.1"}, Options: []string{"parent=eth0.10", "macvlan_mode=private"}},
		"macvlan-no-gw":   {Driver: "macvlan", Subnets: []string{"198.51.100.0/24", "203.0.113.0/24"}, Options: []string{"hostAccess=true"}},
		"overlay":         {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{peers}},
		"overlay-options": {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Internal: true, Options: []string{"peersFile=/etc/peers.json", "vxlanid_list=77", dockerMTU + "=1300"}},
		"third-party":     {Driver: "calico", Options: []string{"log_level=info", "datastore_type=etcdv3", "nested={\"a\": [1, true]}", "on=true", "n=-1.5", "quoted=\"5\""}},
		"third-party-ip":  {Driver: "ptp", Subnets: []string{"10.6.0.0/24"}, Options: []string{dockerMTU + "=1400"}},
		"ipvlan":          {Driver: "ipvlan", Subnets: []string{"198.51.100.0/24"}, Gateways: []string{"198.51.100.1"}, Options: []string{"parent=eth0", "ipvlan_mode=l2"}},
		"config-only":     {ConfigOnly: true, Subnets: []string{"10.7.0.0/24"}, IPv6: true, Options: []string{"parent=eth0"}, Labels: []string{"a=b"}},
		"config-from":     {ConfigFrom: "base"},
		"config-from-net": {ConfigFrom: "front", Internal: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.Name = "shop"
			definition, err := Draw(t.Context(), o, site())
			if err != nil {
				t.Fatal(err)
			}
			content, err := definition.Encode()
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".conflist", string(content))
			readable(t, definition)
		})
	}
}

// readable lets host-local read what was drawn for it.
func readable(t *testing.T, d conflist.Definition) {
	t.Helper()
	if d.About.ConfigOnly {
		return
	}
	network, err := d.Network()
	if err != nil {
		t.Fatal(err)
	}
	first := network.List.Plugins[0]
	if first.Network.IPAM.Type != "host-local" {
		return
	}
	if _, err := hostlocal.Parse([]byte(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "shop", %s`, first.Bytes[1:])), ""); err != nil {
		t.Errorf("host-local: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for want, o := range map[string]Order{
		`operation is not permitted on predefined host network`:                               {Name: "host"},
		`"-x" cannot be the name of a network`:                                                {Name: "-x"},
		`network with name front already exists`:                                              {Name: "front"},
		`only one network of driver host is allowed`:                                          {Driver: "host"},
		`only one network of driver null is allowed`:                                          {Driver: "null"},
		`driver "../x": give the name of a plugin`:                                            {Driver: "../x"},
		`driver portmap: this plugin makes no network by itself`:                              {Driver: "portmap"},
		`ip-range 10.0.0.0/8 is wider than its subnet 10.5.0.0/24`:                            {Subnets: []string{"10.5.0.0/24"}, Ranges: []string{"10.0.0.0/8"}},
		`driver weave: no such plugin as "weave"`:                                             {Driver: "weave"},
		`scope global: a network of driver bridge is local`:                                   {Scope: "global"},
		`subnet 10.5.0.0/32 has one address`:                                                  {Subnets: []string{"10.5.0.0"}},
		`invalid subnet "10.5.0": write one`:                                                  {Subnets: []string{"10.5.0"}},
		`operation is not permitted on predefined default network`:                            {Name: "default"},
		`driver fairwayd: this plugin makes no network by itself`:                             {Driver: "fairwayd"},
		`option com.docker.network.enable_ipv6: give --ipv6`:                                  {Options: []string{"com.docker.network.enable_ipv6=true"}},
		`option enable_icc: do you mean com.docker.network.bridge.enable_icc?`:                {Options: []string{"enable_icc=false"}},
		`option IsGateway: do you mean isGateway?`:                                            {Options: []string{"IsGateway=false"}},
		`option bogus: leave it out`:                                                          {Options: []string{"bogus=1"}},
		`nat-unprotected: it lets others reach ports`:                                         {Options: []string{"com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected"}},
		`no network could be made from it: driver bridge cannot honour the option bogus`:      {ConfigOnly: true, Options: []string{"bogus=1", "icc=false"}},
		`no driver honours all of the options icc, parent`:                                    {ConfigOnly: true, Options: []string{"icc=false", "parent=eth0"}},
		`option com.docker.network.driver.mtu: "x" is not a whole number`:                     {ConfigOnly: true, Options: []string{dockerMTU + "=x"}},
		`option macvlan_mode: "slow" is none of`:                                              {ConfigOnly: true, Options: []string{"macvlan_mode=slow"}},
		`the default IPAM driver cannot honour the ipam-opt k`:                                {ConfigOnly: true, IPAMOptions: []string{"k=b"}},
		`invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24`:                                {Subnets: []string{"10.5.0.1/24"}},
		`invalid ip-range 10.5.0.9/28: it should be 10.5.0.0/28`:                              {Subnets: []string{"10.5.0.0/24"}, Ranges: []string{"10.5.0.9/28"}},
		`subnets 10.5.0.0/16 and 10.5.1.0/24 overlap`:                                         {Subnets: []string{"10.5.0.0/16", "10.5.1.0/24"}},
		`needs the subnet it is of`:                                                           {Gateways: []string{"10.5.0.1"}},
		`no matching subnet for gateway 10.6.0.1`:                                             {Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"10.6.0.1"}},
		`no matching subnet for ip-range 10.6.0.0/28`:                                         {Subnets: []string{"10.5.0.0/24"}, Ranges: []string{"10.6.0.0/28"}},
		`no matching subnet for aux-address 10.6.0.1`:                                         {Subnets: []string{"10.5.0.0/24"}, Aux: []string{"a=10.6.0.1"}},
		`ip-range 10.5.0.0/16 is wider than its subnet 10.5.0.0/24`:                           {Subnets: []string{"10.5.0.0/24"}, Ranges: []string{"10.5.0.0/16"}},
		`ip-ranges 10.5.0.0/28 and 10.5.0.16/28 are of one subnet`:                            {Subnets: []string{"10.5.0.0/24"}, Ranges: []string{"10.5.0.0/28", "10.5.0.16/28"}},
		`gateways 10.5.0.1 and 10.5.0.2 are of one subnet`:                                    {Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"10.5.0.1", "10.5.0.2"}},
		`gateway 10.5.0.255 is the network or broadcast address`:                              {Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"10.5.0.255"}},
		`invalid gateway "x"`:                                                                 {Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"x"}},
		`aux-address "10.5.0.5": write NAME=ADDRESS`:                                          {Subnets: []string{"10.5.0.0/24"}, Aux: []string{"10.5.0.5"}},
		`aux-address a is given twice`:                                                        {Subnets: []string{"10.5.0.0/24"}, Aux: []string{"a=10.5.0.5", "a=10.5.0.6"}},
		`aux-address a is the gateway 10.5.0.1`:                                               {Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"10.5.0.1"}, Aux: []string{"a=10.5.0.1"}},
		`no address of subnet 10.5.0.0/30 is left for containers`:                             {Subnets: []string{"10.5.0.0/30"}, Aux: []string{"a=10.5.0.2"}},
		`subnet 172.18.5.0/24 overlaps 172.18.0.0/16 of network front: choose`:                {Subnets: []string{"172.18.5.0/24"}},
		`subnet 198.51.0.0/16 overlaps 198.51.100.0/24 of the route 198.51.100.0/24 dev eth0`: {Subnets: []string{"198.51.0.0/16"}},
		`subnet 172.19.0.0/24 overlaps 172.19.0.53/32 of the nameserver 172.19.0.53`:          {Subnets: []string{"172.19.0.0/24"}},
		`driver bridge has one subnet of a family: leave out 10.5.0.0/24 or 10.6.0.0/24`:      {Subnets: []string{"10.5.0.0/24", "10.6.0.0/24"}},
		`a network has IPv4, IPv6 or both`:                                                    {NoIPv4: true},
		`option encrypted: networks of driver bridge are not encrypted`:                       {Options: []string{"encrypted="}},
		`option encrypted needs option privateKeyFile`:                                        {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{"encrypted=", peers}},
		`option encrypted needs the public key of each host: write peers as JSON`:             {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{"encrypted=", "privateKeyFile=/k", peers}},
		`option privateKeyFile is for option encrypted`:                                       {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{"privateKeyFile=/k", peers}},
		`option "=b": write KEY=VALUE`:                                                        {Options: []string{"=b"}},
		`option mtu is given twice`:                                                           {Options: []string{"mtu=1", "mtu=2"}},
		`mean the same: give one`:                                                             {Options: []string{"mtu=1400", dockerMTU + "=1400"}},
		`option mtu: "x" is not a whole number`:                                               {Options: []string{"mtu=x"}},
		`MTU 1: give 68 to 65535`:                                                             {Options: []string{"mtu=1"}},
		`option icc: "maybe" is neither true nor false`:                                       {Options: []string{"icc=maybe"}},
		`option vlanTrunk: "[" is not JSON`:                                                   {Options: []string{"vlanTrunk=["}},
		`driver bridge cannot honour the option parent`:                                       {Options: []string{"parent=eth0"}},
		`cannot honour the option com.docker.network.bridge.gateway_mode_ipv4=isolated`:       {Options: []string{"com.docker.network.bridge.gateway_mode_ipv4=isolated"}},
		`cannot route one family and masquerade the other`:                                    {IPv6: true, Options: []string{"com.docker.network.bridge.gateway_mode_ipv6=routed"}},
		`option ipam cannot be given`:                                                         {Options: []string{"ipam={}"}},
		`bridge name "a-name-of-16-byte": give 1 to 15 characters`:                            {Options: []string{"bridge=a-name-of-16-byte"}},
		`bridge name br-front is that of network front`:                                       {Options: []string{"bridge=br-front"}},
		`bridge name eth0 is that of a link of type device`:                                   {Options: []string{"bridge=eth0"}},
		`label "=": write KEY=VALUE`:                                                          {Labels: []string{"="}},
		`driver macvlan cannot be internal`:                                                   {Driver: "macvlan", Internal: true},
		`option macvlan_mode: "fast" is none of bridge, private, vepa, passthru`:              {Driver: "macvlan", Options: []string{"macvlan_mode=fast"}},
		`parent eth7: there is no such link`:                                                  {Driver: "macvlan", Options: []string{"parent=eth7"}},
		`parent eth1 is that of network lan, and mode passthru`:                               {Driver: "macvlan", Options: []string{"parent=eth1"}},
		`an overlay of listed peers needs its subnet`:                                         {Driver: "overlay", Options: []string{peers}},
		`"192.0.2.11": write VTEP=BLOCK for each host`:                                        {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{"peers=192.0.2.11"}},
		`peers[0].subnets[0] is 10.43.0.0/24, outside the network's 10.42.0.0/16`:             {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: []string{"peers=192.0.2.11=10.43.0.0/24"}},
		`leave --ip-range, --gateway and --aux-address out`:                                   {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Ranges: []string{"10.42.0.0/24"}, Options: []string{peers}},
		`with the first address of its own as the gateway`:                                    {Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Gateways: []string{"10.42.0.1"}, Options: []string{peers}},
		`driver overlay gives out addresses itself`:                                           {Driver: "overlay", IPAMDriver: "dhcp", Options: []string{peers}},
		`driver calico cannot honour internal`:                                                {Driver: "calico", Internal: true},
		`driver calico cannot honour the option com.docker.network.bridge.name`:               {Driver: "calico", Options: []string{"com.docker.network.bridge.name=x"}},
		`IPAM driver dhcp takes no subnets`:                                                   {IPAMDriver: "dhcp", Subnets: []string{"10.5.0.0/24"}},
		`IPAM driver none takes no options`:                                                   {IPAMDriver: "none", IPAMOptions: []string{"a=b"}},
		`the default IPAM driver cannot honour the ipam-opt a`:                                {IPAMOptions: []string{"a=b"}},
		`IPAM driver "/bin/sh": give the name of a plugin`:                                    {IPAMDriver: "/bin/sh"},
		`driver bridge: no such plugin as "weaved"`:                                           {IPAMDriver: "weaved"},
		`leave out --config-only or --config-from`:                                            {ConfigOnly: true, ConfigFrom: "base"},
		`--internal is not part of a configuration for others`:                                {ConfigOnly: true, Internal: true},
		`--attachable is not part of a configuration for others`:                              {ConfigOnly: true, Attachable: true},
		`--scope is not part of a configuration for others`:                                   {ConfigOnly: true, Scope: "local"},
		`--driver is not part of a configuration for others`:                                  {ConfigOnly: true, Driver: "macvlan"},
		`no such plugin as "nosuch"`:                                                          {ConfigOnly: true, IPAMDriver: "nosuch"},
		`inhibit_ipv4: give isGateway=false`:                                                  {Options: []string{"com.docker.network.bridge.inhibit_ipv4=true"}},
		`container_iface_prefix: a CNI runtime names interfaces`:                              {Options: []string{"com.docker.network.container_iface_prefix=net"}},
		`the configuration of base is copied as it is`:                                        {ConfigFrom: "base", Labels: []string{"a=b"}},
		`network nobody not found`:                                                            {ConfigFrom: "nobody"},
		`its plugins have no CNI version in common`:                                           {Driver: "odd", IPAMDriver: "dhcp"},
	} {
		t.Run(want, func(t *testing.T) {
			if o.Name == "" {
				o.Name = "shop"
			}
			d, err := Draw(t.Context(), o, site())
			if err == nil {
				content, _ := d.Encode()
				t.Fatalf("got %s, want an error", content)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want %q", err, want)
			}
		})
	}
}

// TestUses: a configuration is drawn as a network of each driver that can have it, whatever networks there are meanwhile.
func TestUses(t *testing.T) {
	for name, test := range map[string]struct {
		order Order
		want  []string
	}{
		"nothing":            {Order{}, []string{"bridge", "macvlan"}},
		"a subnet in use":    {Order{Subnets: []string{"172.18.0.0/16"}}, []string{"bridge", "macvlan"}},
		"a bridge in use":    {Order{Options: []string{"bridge=br-front"}}, []string{"bridge"}},
		"two of a family":    {Order{Subnets: []string{"10.5.0.0/24", "10.6.0.0/24"}}, []string{"macvlan"}},
		"a parent":           {Order{Options: []string{"parent=eth0.10"}}, []string{"macvlan"}},
		"for the node agent": {Order{Options: []string{"vxlanid_list=70000"}}, nil},
		"listed hosts":       {Order{Subnets: []string{"10.42.0.0/16"}, Options: []string{peers}}, []string{"overlay-vxlan"}},
		"no addresses":       {Order{IPAMDriver: "none"}, []string{"bridge", "macvlan"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.order.Name, test.order.ConfigOnly = "shop", true
			drawn, err := Uses(t.Context(), test.order, site())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, definition := range drawn {
				got = append(got, definition.Plugins[0].(plugin).kind)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestConfigOnlyKeeps: what is given for a configuration is what a network made from it has.
func TestConfigOnlyKeeps(t *testing.T) {
	s := site()
	o := Order{Name: "six", ConfigOnly: true, NoIPv4: true, IPv6: true, Options: []string{"icc=false"}, Labels: []string{"a=b"}}
	d, err := Draw(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	content, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "six.config-only"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Networks, err = conflist.Load(dir); err != nil || len(s.Networks.Warnings) > 0 {
		t.Fatal(err, s.Networks.Warnings)
	}
	made, err := Draw(t.Context(), Order{Name: "shop", ConfigFrom: "six", Internal: true}, s)
	if err != nil {
		t.Fatal(err)
	}
	about := made.About
	if len(about.Pools) != 1 || !about.Pools[0].Subnet.Addr().Is6() || about.Options["icc"] != "false" || made.Labels["a"] != "b" || !about.Internal {
		t.Errorf("made from it: %+v, labels %v", about, made.Labels)
	}
}

func TestForeignBridge(t *testing.T) {
	s := site()
	s.Plugins = installed{"bridge": "1.0.0", "host-local": "1.0.0"}
	if _, err := Draw(t.Context(), Order{Name: "shop"}, s); err != nil {
		t.Errorf("an ordinary network on another's bridge: %v", err)
	}
	for _, o := range []Order{{Internal: true}, {Options: []string{"icc=false"}}} {
		o.Name = "shop"
		if _, err := Draw(t.Context(), o, s); err == nil || !strings.Contains(err.Error(), "is not fairway's and would ignore") {
			t.Errorf("%+v: got %v, want a refusal", o, err)
		}
	}
	s.Plugins = installed{"bridge": "1.0.0"}
	if _, err := Draw(t.Context(), Order{Name: "shop"}, s); !errors.Is(err, driver.ErrNoPlugin) {
		t.Errorf("without host-local: got %v, want %v", err, driver.ErrNoPlugin)
	}
}

func TestDrawOverlay(t *testing.T) {
	o := Order{Name: "shop", Driver: "overlay", IPv6: true, Subnets: []string{"10.42.0.0/16"},
		Options: []string{"vni=5", dockerMTU + "=1300"}, Labels: []string{"a=b"}}
	if !o.ByAgent() {
		t.Error("without peers, it is for the agent")
	}
	n, err := DrawOverlay(o, site())
	if err != nil {
		t.Fatal(err)
	}
	if n.Name != "shop" || n.VNI != 5 || n.MTU != 1300 || !n.IPMasq || n.Labels["a"] != "b" || len(n.Subnets) != 2 ||
		n.Subnets[0].Prefix.String() != "10.42.0.0/16" || n.Subnets[1].Prefix.Bits() != 64 {
		t.Errorf("got %+v", n)
	}
	o.Options = []string{"encrypted=", "wireguardPort=51900"}
	if n, err := DrawOverlay(o, site()); err != nil || !n.Encrypted || n.WireguardPort != 51900 {
		t.Errorf("encrypted: got %+v, %v", n, err)
	}
	for want, options := range map[string]string{
		"the node agent cannot honour the option port": "port=5", "the node agent cannot honour the option privateKeyFile": "privateKeyFile=/k", "no UDP port": "wireguardPort=70000",
	} {
		o.Options = []string{options}
		if _, err := DrawOverlay(o, site()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", options, err, want)
		}
	}
	o = Order{Driver: "overlay", Options: []string{peers}}
	if o.ByAgent() || (Order{}).ByAgent() {
		t.Error("listed peers and bridges are not for the agent")
	}
}

// Networks of the agent have names as all others, unless they are told otherwise; those of listed hosts on their own host.
func TestNamesOfOverlays(t *testing.T) {
	for _, test := range []struct {
		options       []string
		without, host bool
		own           bool
	}{
		{nil, false, false, false},
		{[]string{"names=false"}, true, false, false},
		{[]string{"hostGateway=true"}, false, true, false},
		{[]string{peers}, false, false, true},
		{[]string{peers, "names=true"}, false, false, true},
		{[]string{peers, "names=false"}, false, false, false},
	} {
		o := Order{Name: "shop", Driver: "overlay", Subnets: []string{"10.42.0.0/16"}, Options: test.options}
		if got := o.NamesOfOwnHost(); got != test.own {
			t.Errorf("%v: of its own host alone: %v", test.options, got)
		}
		if !o.ByAgent() {
			continue
		}
		n, err := DrawOverlay(o, site())
		if err != nil {
			t.Fatal(err)
		}
		if n.WithoutNames != test.without || n.HostGateway != test.host {
			t.Errorf("%v: got %+v", test.options, n)
		}
	}
}

// TestUnusableSubnets: no driver takes them, and none of Docker's pools is among them.
func TestUnusableSubnets(t *testing.T) {
	for subnet, want := range map[string]string{
		"127.0.0.0/24": "loopback", "224.0.0.0/8": "multicast", "169.254.9.0/24": "link-local", "0.0.0.0/0": "this network",
		"0.0.0.0/24": "this network", "240.0.0.0/8": "reserved", "255.255.255.0/24": "reserved", "::/0": "loopback",
		"::1/128": "loopback", "fe80::/64": "link-local", "ff02::/64": "multicast",
	} {
		for _, driver := range []string{"bridge", "macvlan", "ptp"} {
			_, err := Draw(t.Context(), Order{Name: "shop", Driver: driver, Subnets: []string{subnet}}, site())
			if err == nil || !strings.Contains(err.Error(), "invalid subnet "+subnet) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: got %v, want it refused as %s", driver, subnet, err, want)
			}
		}
	}
	for _, subnet := range []string{"10.5.0.0/24", "172.31.0.0/16", "192.168.240.0/20", "100.64.0.0/10", "fd00:5::/64", "2001:db8::/48"} {
		if err := checkUsable(netip.MustParsePrefix(subnet)); err != nil {
			t.Errorf("%s: %v", subnet, err)
		}
	}
}
