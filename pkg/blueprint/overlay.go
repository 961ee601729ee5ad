package blueprint

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// ByAgent says whether an order is for the node agent: an overlay of which the hosts are not listed.
func (o Order) ByAgent() bool {
	if o.Driver != "overlay" && o.Driver != "overlay-vxlan" || o.ConfigOnly {
		return false
	}
	for _, option := range o.Options {
		if key, _, _ := strings.Cut(option, "="); key == "peers" || key == "peersFile" {
			return false
		}
	}
	return true
}

// NamesOfOwnHost says whether an order is for a network over several hosts whose containers know the names of their own host alone: of
// listed hosts, nobody tells one what containers of another are called.
func (o Order) NamesOfOwnHost() bool {
	if o.Driver != "overlay" && o.Driver != "overlay-vxlan" || o.ConfigOnly || o.ByAgent() {
		return false
	}
	return !slices.ContainsFunc(o.Options, func(option string) bool {
		key, value, _ := strings.Cut(option, "=")
		set, err := strconv.ParseBool(value)
		return key == optionNames && err == nil && !set
	})
}

// DrawOverlay gives the definition of an overlay that the node agent is to make on all hosts.
func DrawOverlay(o Order, site Site) (agentapi.Network, error) {
	d, err := read(o, site)
	if err != nil {
		return agentapi.Network{}, err
	}
	if err := d.choosePools(); err != nil {
		return agentapi.Network{}, err
	}
	keys, err := d.overlayKeys()
	if err != nil {
		return agentapi.Network{}, err
	}
	for _, key := range []string{"privateKeyFile", "dns", "isolated", "pins", "port", "self"} {
		if _, given := keys[key]; given {
			return agentapi.Network{}, fmt.Errorf("the node agent cannot honour the option %s: leave it out", key)
		}
	}
	n := agentapi.Network{Name: d.Name, Internal: d.Internal, IPMasq: !d.Internal, Options: d.options, Labels: d.labels}
	named, err := d.isSet(optionNames, true)
	if err != nil {
		return agentapi.Network{}, err
	}
	n.WithoutNames = !named
	if n.HostGateway, err = d.isSet(optionHost, false); err != nil {
		return agentapi.Network{}, err
	}
	if masquerade, ok := keys["ipMasq"].(bool); ok {
		n.IPMasq = masquerade
	}
	vni, _ := keys["vni"].(int)
	n.VNI = uint32(vni)
	n.MTU, _ = keys["mtu"].(int)
	n.Encrypted, _ = keys[optionEncrypted].(bool)
	port, _ := keys["wireguardPort"].(int)
	if port < 0 || port > 65535 {
		return agentapi.Network{}, fmt.Errorf("option wireguardPort: %d is no UDP port: give one from 1 to 65535, or leave it out", port)
	}
	n.WireguardPort = uint16(port)
	for _, pool := range d.pools {
		n.Subnets = append(n.Subnets, agentapi.Subnet{Prefix: pool.Subnet})
	}
	return n, nil
}

// overlay is the daemonless form, the same on every host: the options name all of them.
func (d *draft) overlay() ([]plugin, error) {
	keys, err := d.overlayKeys()
	if err != nil {
		return nil, err
	}
	if len(d.pools) == 0 {
		return nil, errors.New("an overlay of listed peers needs its subnet, the same on every host: give --subnet")
	}
	if _, given := keys["vni"]; !given {
		keys["vni"] = vniOf(d.Name)
	}
	if _, given := keys["ipMasq"]; !given {
		keys["ipMasq"] = !d.Internal
	}
	if d.Internal {
		keys["internal"] = true
	}
	subnets := make([]string, len(d.pools))
	for i, pool := range d.pools {
		subnets[i] = pool.Subnet.String()
	}
	keys["subnets"] = subnets
	if err := readPeers(keys); err != nil {
		return nil, err
	}
	if err := checkOverlay(keys); err != nil {
		return nil, err
	}
	if err := d.addNames(keys); err != nil {
		return nil, err
	}
	keys["capabilities"] = publishingCapabilities
	if d.Internal {
		keys["capabilities"] = runtimeCapabilities
	}
	return []plugin{{"overlay-vxlan", keys}}, nil
}

// overlayKeys translates the options, and refuses what an overlay has not.
func (d *draft) overlayKeys() (map[string]any, error) {
	keys, err := overlayDialect.translate(d.options)
	if err != nil {
		return nil, err
	}
	if !d.usesHostLocal() || len(d.ipamOptions) > 0 {
		return nil, errors.New("driver overlay gives out addresses itself: leave --ipam-driver and --ipam-opt out")
	}
	for _, pool := range d.pools {
		if pool.Range.IsValid() || len(pool.Aux) > 0 || pool.Gateway.IsValid() {
			return nil, fmt.Errorf("driver overlay gives each host blocks of %s, with the first address of its own as the gateway: "+
				"leave --ip-range, --gateway and --aux-address out", pool.Subnet)
		}
	}
	return keys, nil
}

// readPeers reads the option peers: JSON as in the netconf, or VTEP=BLOCK[+BLOCK…] separated by commas.
func readPeers(keys map[string]any) error {
	given, ok := keys["peers"].(string)
	if !ok {
		return nil // peersFile
	}
	var peers []overlay.PeerText
	if strings.HasPrefix(strings.TrimSpace(given), "[") {
		if err := json.Unmarshal([]byte(given), &peers); err != nil {
			return fmt.Errorf("option peers: %w", err)
		}
	} else {
		for _, one := range strings.Split(given, ",") {
			vtep, blocks, ok := strings.Cut(one, "=")
			if !ok {
				return fmt.Errorf("option peers: %q: write VTEP=BLOCK for each host, as in 192.0.2.11=10.42.1.0/24,192.0.2.12=10.42.2.0/24", one)
			}
			peers = append(peers, overlay.PeerText{VTEP: strings.TrimSpace(vtep), Subnets: strings.Split(strings.TrimSpace(blocks), "+")})
		}
	}
	keys["peers"] = peers
	return nil
}

// checkOverlay lets the overlay's own model read what was drawn.
func checkOverlay(keys map[string]any) error {
	conf, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	var read struct {
		overlay.NetworkText
		overlay.PeersText
	}
	if err := json.Unmarshal(conf, &read); err != nil {
		return err
	}
	network, err := read.NetworkText.Parse()
	if err != nil {
		return err
	}
	hosts, err := read.PeersText.Parse()
	if err != nil {
		return err
	}
	if err := network.Check(hosts); err != nil {
		return err
	}
	return checkEncryption(network, hosts, keys)
}

// checkEncryption refuses a network that could not be encrypted, rather than each of its ADDs.
func checkEncryption(n overlay.Network, h overlay.Hosts, keys map[string]any) error {
	_, given := keys["privateKeyFile"]
	switch {
	case given && !n.Encrypted:
		return errors.New("option privateKeyFile is for option encrypted: give that too, or leave this out")
	case n.Encrypted && !given:
		return errors.New("option encrypted needs option privateKeyFile: the file on each host that `fairway overlay genkey` makes")
	}
	for _, p := range h.Peers {
		if n.Encrypted && p.Key.IsZero() {
			return fmt.Errorf("option encrypted needs the public key of each host: write peers as JSON, with publicKey for host %s", p.VTEP)
		}
	}
	return nil
}

// vniOf derives an identifier from the name, so that every host comes to the same.
func vniOf(name string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name)) // a hash cannot fail
	const from, last = 4096, 1<<24 - 1
	vni := from + int(hash.Sum32()%(last-from+1))
	if vni < overlay.FirstVNI {
		vni += overlay.FirstVNI // and the others as before, for hosts with an earlier release
	}
	return vni
}
