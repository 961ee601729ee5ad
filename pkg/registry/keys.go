package registry

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// The keys, below root:
//
//	cluster                    Cluster
//	networks/<name>            definition (agentapi.Network)
//	nodes/<node>               Host
//	net/<name>/blocks/<cidr>   the owning node's name
//	net/<name>/names/<node>/<attachment>  names.Record, leased: what a container is called
//	net/<name>/nodes/<node>    Member
//	net/<name>/pins/<address>  Pin
//	net/<name>/used/<node>     "", while the node has containers on the network
//	vni/<vni>                  the network's name
//	alive/<node>               boot ID, leased: the heartbeat
//	keeper                     the node that reclaims, leased
//	settling                   leased: the store went back, and hosts claim again what they had
//	seen/<name>                the last revision that any host had seen of the network before the store went back, leased
//	wanted/<name>              the network has no free block
//	pulse                      by which hosts know the store's history again
//	marks/<node>               written to see whether the store can be
//
// Every host follows cluster, networks/ and nodes/; of net/<name>/ only members follow blocks, nodes and pins, which are one
// range, with the names in it. Neither heartbeats nor usage lie in it.
const (
	root       = "/fairway/v1/"
	clusterKey = root + "cluster"
	networks   = root + "networks/"
	nodes      = root + "nodes/"
	perNet     = root + "net/"
	vnis       = root + "vni/"
	heartbeats = root + "alive/"
	keeperKey  = root + "keeper"
	settling   = root + "settling"
	wanted     = root + "wanted/"
	testimony  = root + "seen/"
	marks      = root + "marks/"
	pulseKey   = root + "pulse"

	blocksPart  = "blocks"
	namesPart   = "names"
	membersPart = "nodes"
	pinsPart    = "pins"
	usedPart    = "used"
)

func networkKey(name string) string { return networks + name }

func hostKey(node string) string { return nodes + node }

func vniKey(vni uint32) string { return vnis + strconv.FormatUint(uint64(vni), 10) }

func heartbeatKey(node string) string { return heartbeats + node }

func wantedKey(network string) string { return wanted + network }

func testimonyKey(network string) string { return testimony + network }

func netPrefix(network string) string { return perNet + network + "/" }

func partPrefix(network, part string) string { return netPrefix(network) + part + "/" }

func memberKey(network, node string) string { return partPrefix(network, membersPart) + node }

func blockKey(network string, block netip.Prefix) string {
	return partPrefix(network, blocksPart) + block.String()
}

func pinKey(network string, addr netip.Addr) string {
	return partPrefix(network, pinsPart) + addr.String()
}

func nameKey(network, node, attachment string) string {
	return partPrefix(network, namesPart) + node + "/" + attachment
}

func usedKey(network, node string) string { return partPrefix(network, usedPart) + node }

// membership is the range of a network's keys that its members follow.
func membership(network string) etcd.Range {
	return etcd.Range{Key: partPrefix(network, blocksPart), End: etcd.PrefixEnd(partPrefix(network, pinsPart))}
}

// location is what a key is about: the cluster record, a host, or something of a network, whose definition has no part.
type location struct {
	host, network, part, name string
}

// parseKey takes apart a key. ok is false for what is none of those that are followed.
func parseKey(key string) (l location, ok bool) {
	if key == clusterKey {
		return location{}, true
	}
	if name, found := strings.CutPrefix(key, networks); found {
		return location{network: name}, name != "" && !strings.Contains(name, "/")
	}
	if name, found := strings.CutPrefix(key, nodes); found {
		return location{host: name}, name != ""
	}
	rest, found := strings.CutPrefix(key, perNet)
	fields := strings.SplitN(rest, "/", 3)
	if !found || len(fields) < 3 || fields[0] == "" || fields[2] == "" {
		return location{}, false
	}
	return location{network: fields[0], part: fields[1], name: fields[2]}, true
}
