package packetfilter

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// match is a condition of iptables that nftables takes as it is.
func (r *run) match(e *expr.Match) truth {
	switch info := e.Info.(type) {
	case *xt.Comment:
		return yes
	case *xt.ConntrackMtinfo1:
		return r.matchState(info.ConntrackMtinfoBase, uint16(info.StateMask))
	case *xt.ConntrackMtinfo2:
		return r.matchState(info.ConntrackMtinfoBase, info.StateMask)
	case *xt.ConntrackMtinfo3:
		return r.matchState(info.ConntrackMtinfoBase, info.StateMask)
	case *xt.AddrType:
		return r.matchAddresses(info.Source, info.Dest, info.InvertSource, info.InvertDest)
	case *xt.AddrTypeV1:
		const invertSource, invertDestination = 1, 2 // linux/netfilter/xt_addrtype.h
		return r.matchAddresses(info.Source, info.Dest, info.Flags&invertSource != 0, info.Flags&invertDestination != 0)
	case *xt.Unknown:
		if e.Name == "multiport" && e.Rev == 1 {
			return r.matchPorts(*info)
		}
	}
	return r.doubtful("match " + e.Name)
}

// Bits of the states of iptables' match conntrack (linux/netfilter/xt_conntrack.h).
const (
	xtEstablished = 1 << 1
	xtNew         = 1 << 3
)

func (r *run) matchState(info xt.ConntrackMtinfoBase, mask uint16) truth {
	if xt.ConntrackFlags(info.MatchFlags)&^xt.ConntrackStateAlias != xt.ConntrackState {
		return r.doubtful("match conntrack")
	}
	bit := uint16(xtNew)
	if r.Answer {
		bit = xtEstablished
	}
	inverted := xt.ConntrackFlags(info.InvertFlags)&xt.ConntrackState != 0
	return truthOf(mask&bit != 0 != inverted)
}

// matchAddresses compares what kind of addresses they are, a bit for each kind that routes have.
func (r *run) matchAddresses(source, destination uint16, notSource, notDestination bool) truth {
	of := uint16(1 << unix.RTN_UNICAST)
	to := of
	if r.ToHost {
		to = 1 << unix.RTN_LOCAL
	}
	return truthOf((source == 0 || source&of != 0 != notSource) && (destination == 0 || destination&to != 0 != notDestination))
}

// matchPorts reads struct xt_multiport_v1: which ports count, how many there are, fifteen of them, a mark for each that begins a range, and
// whether all is inverted.
func (r *run) matchPorts(info []byte) truth {
	const most, size = 15, 2 + 15*2 + 15 + 1
	if len(info) < size || info[1] > most {
		return r.doubtful("match multiport")
	}
	ports := make([]uint16, info[1])
	for i := range ports {
		ports[i] = binary.NativeEndian.Uint16(info[2+2*i:])
	}
	ranges := info[2+2*most:]
	in := func(port uint16) bool {
		for i := 0; i < len(ports); i++ {
			if ranges[i] != 0 && i+1 < len(ports) {
				if ports[i] <= port && port <= ports[i+1] {
					return true
				}
				i++
				continue
			}
			if ports[i] == port {
				return true
			}
		}
		return false
	}
	var hit bool
	switch info[0] { // enum xt_multiport_flags
	case 0:
		hit = in(r.SourcePort)
	case 1:
		hit = in(r.DestinationPort)
	default:
		hit = in(r.SourcePort) || in(r.DestinationPort)
	}
	return truthOf(hit != (info[size-1] != 0))
}

// statements are targets of iptables after which the next rule is looked at.
var statements = []string{"LOG", "NFLOG", "TCPMSS", "TRACE", "CT", "CHECKSUM", "CLASSIFY", "DSCP", "TOS", "TTL", "HL", "SECMARK", "CONNSECMARK", "AUDIT", "RATEEST", "TEE", "SET"}

func (r *run) target(e *expr.Target) truth {
	switch {
	case slices.Contains(statements, e.Name):
		return yes
	case e.Name == "REJECT":
		r.verdict = verdict{kind: drops}
		return yes
	case e.Name == "MARK" || e.Name == "CONNMARK":
		r.mark = unknown(4)
		return yes
	}
	r.verdict = verdict{kind: asks}
	return r.doubtful("target " + e.Name)
}
