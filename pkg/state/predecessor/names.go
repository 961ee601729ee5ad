package predecessor

import (
	"crypto/sha512"
	"encoding/hex"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/state"
)

// The tables. Those of iptables are by its variant that is built on nftables.
const (
	natTable        = "nat"
	filterTable     = "filter"
	masqueradeTable = "cni_plugins_masquerade" // family inet
	hostPortTable   = "cni_hostport"           // families ip and ip6
)

// The chains that containers share.
const (
	hostPortChain  = "CNI-HOSTPORT-DNAT"
	setMarkChain   = "CNI-HOSTPORT-SETMARK"
	markMasqChain  = "CNI-HOSTPORT-MASQ"
	forwardChain   = "CNI-FORWARD"
	isolationChain = "CNI-ISOLATION-STAGE-1"
	bridgesChain   = "CNI-ISOLATION-STAGE-2"
)

// tables is in which families there is a table of which name.
type tables map[string][]nftables.TableFamily

func (t tables) all() (list []nftables.Table) {
	for name, families := range t {
		for _, family := range families {
			list = append(list, nftables.Table{Family: family, Name: name})
		}
	}
	return list
}

// ipFamilies are those of iptables and ip6tables.
var ipFamilies = []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}

// chainName is the name of a container's chain: a prefix, filled up to 28 characters with a hash of network and container.
func chainName(prefix string, o state.Owner) string {
	const length = 28
	return (prefix + hash(o.Network+o.ContainerID))[:length]
}

func masqueradeChain(o state.Owner) string { return chainName("CNI-", o) }
func portsChain(o state.Owner) string      { return chainName("CNI-DN-", o) }

// spoofChain is the chain of a container's link in table `bridge nat`; that of its MAC is named after it.
func spoofChain(o state.Owner) string { return "cni-br-iface-" + o.ContainerID + "-" + o.IfName }

// masqueradeComment begins the comment of a container's rules in the table of masquerading.
func masqueradeComment(o state.Owner) string {
	const length = 16
	return hash(o.Network)[:length] + "-" + hash(o.IfName + ":" + o.ContainerID)[:length]
}

func hash(text string) string {
	sum := sha512.Sum512([]byte(text))
	return hex.EncodeToString(sum[:])
}
