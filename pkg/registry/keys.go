package registry

import (
	"net/netip"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The keys, below root:
//
//	networks/<name>            definition (agentapi.Network)
//	vni/<vni>                  the network's name
//	net/<name>/nodes/<node>    Node
//	net/<name>/blocks/<cidr>   the owning node's name
//	net/<name>/pins/<address>  Pin
//	net/<name>/used/<node>     "", while the node has containers on the network
//	alive/<node>               boot ID, leased
//
// What hosts follow, net/ and networks/, is one range of keys, and neither alive/ nor vni/ lie in it: a host's sign of life
// is an event to nobody. A network's keys lie below net/, so that no name of a network meets another key.
const (
	root     = "/fairway/v1/"
	networks = root + "networks/"
	perNet   = root + "net/"
	alive    = root + "alive/"
	vnis     = root + "vni/"

	nodesPart  = "nodes"
	blocksPart = "blocks"
	pinsPart   = "pins"
	usedPart   = "used"
)

// followed is the range of keys that hosts follow: its first, and the first after it.
func followed() (from, end string) { return perNet, clientv3.GetPrefixRangeEnd(networks) }

func networkKey(name string) string { return networks + name }

func vniKey(vni uint32) string { return vnis + strconv.FormatUint(uint64(vni), 10) }

func aliveKey(node string) string { return alive + node }

func partPrefix(network, part string) string { return perNet + network + "/" + part + "/" }

func nodeKey(network, node string) string { return partPrefix(network, nodesPart) + node }

func blockKey(network string, block netip.Prefix) string {
	return partPrefix(network, blocksPart) + block.String()
}

func pinKey(network string, addr netip.Addr) string {
	return partPrefix(network, pinsPart) + addr.String()
}

func usedKey(network, node string) string { return partPrefix(network, usedPart) + node }

// location is what a key is about. Part is empty for a definition.
type location struct {
	network, part, name string
}

// parseKey takes apart a key of the followed range. ok is false for what is none of ours.
func parseKey(key string) (l location, ok bool) {
	if name, found := strings.CutPrefix(key, networks); found {
		return location{network: name}, name != "" && !strings.Contains(name, "/")
	}
	rest, found := strings.CutPrefix(key, perNet)
	fields := strings.SplitN(rest, "/", 3)
	if !found || len(fields) < 3 || fields[0] == "" || fields[2] == "" {
		return location{}, false
	}
	return location{network: fields[0], part: fields[1], name: fields[2]}, true
}
