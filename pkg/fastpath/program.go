package fastpath

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbLength   = 0
	skbType     = 4
	skbMark     = 8
	skbProtocol = 16
	skbVLAN     = 20
	skbIfindex  = 40
	skbData     = 76
	skbDataEnd  = 80
	skbGSOSize  = 176
)

// Offsets in struct bpf_fib_lookup.
const (
	fibSize     = 64
	fibFamily   = 0
	fibProtocol = 1
	fibSport    = 2
	fibDport    = 4
	fibLength   = 6
	fibIfindex  = 8
	fibClass    = 12
	fibSource   = 16
	fibTarget   = 32
	fibSMAC     = 52
	fibDMAC     = 58
)

// Offsets from the frame pointer: the way of the packet, the way back to its source, and a key.
const (
	there   = -fibSize
	back    = -2 * fibSize
	scratch = back - 8
)

const (
	ethHeader  = 14
	ip4Header  = 20
	ip6Header  = 40
	portsBytes = 8 // the ports, and as much as UDP's header has

	noNeighbour     = 7 // BPF_FIB_LKUP_RET_NO_NEIGH: the way is known, and not the MAC
	checkSegments   = 1 // BPF_MTU_CHK_SEGS
	verdictNext     = -1
	moreFragments   = 0x3fff // and the offset
	firstByteOfLink = 0xfe   // fe80::/10, and multicast above
)

// maps are what the program looks into.
type maps struct {
	// lease is one number: until when, on the monotonic clock, packets may be carried.
	lease *ebpf.Map
	// members are the links between which packets are carried: memberOf by index.
	members *ebpf.Map
	// tunnels are the UDP ports, as they are on the wire, at which no container may send.
	tunnels *ebpf.Map
	// carried counts packets, for each processor.
	carried *ebpf.Map
}

// memberOf is a link of a network: packets pass within one. A device leads to other hosts, any other link to a container.
type memberOf struct{ Network, Device uint32 }

// instructions are the program, which every link has. In R6 it keeps the context, in R7 the packet, in R8 the link's member and in R9 the end of the
// packet, later the member that it goes to. Whatever is not plain, it leaves to the stack.
func (m maps) instructions() asm.Instructions {
	var program asm.Instructions
	for _, part := range []asm.Instructions{m.mayCarry(), readIPv4(), readIPv6(), m.spareTunnels(), m.lookUp(), wayBack(), segmentsFit(), headers(), m.send()} {
		program = append(program, part...)
	}
	return append(program,
		asm.LoadImm(asm.R0, verdictNext, asm.DWord).WithSymbol("stack"),
		asm.Return())
}

// call looks a key up that lies at an offset from the frame pointer. R0 is the value, or 0.
func call(m *ebpf.Map, key int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
	}
}

// mayCarry: the lease runs, the link is a member, and the frame is for the host, without a VLAN.
func (m maps) mayCarry() asm.Instructions {
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnKtimeGetCoarseNs.Call(),
		asm.LoadMapValue(asm.R1, m.lease.FD(), 0),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		asm.JGE.Reg(asm.R0, asm.R1, "stack"),
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, scratch, asm.R1, asm.Word),
	}
	program = append(program, call(m.members, scratch)...)
	program = append(program,
		asm.JEq.Imm(asm.R0, 0, "stack"),
		asm.LoadMem(asm.R8, asm.R0, 0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, skbType, asm.Word),
		asm.JNE.Imm(asm.R1, unix.PACKET_HOST, "stack"),
		asm.LoadMem(asm.R1, asm.R6, skbVLAN, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "stack"))
	program = append(program, asm.Mov.Imm(asm.R1, 0))
	for at := int16(back); at < 0; at += 8 {
		program = append(program, asm.StoreMem(asm.RFP, at, asm.R1, asm.DWord))
	}
	return append(program,
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, there+fibIfindex, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, back+fibIfindex, asm.R1, asm.Word),
		asm.LoadMem(asm.R7, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R9, asm.R6, skbDataEnd, asm.Word),
		asm.LoadMem(asm.R1, asm.R6, skbProtocol, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.JEq.Imm(asm.R1, unix.ETH_P_IPV6, "ip6"),
		asm.JNE.Imm(asm.R1, unix.ETH_P_IP, "stack"))
}

// long enough is a packet whose headers lie before its end.
func longEnough(length int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, length),
		asm.JGT.Reg(asm.R1, asm.R9, "stack"),
	}
}

// readIPv4: no options, no fragment, a hop to lose.
func readIPv4() asm.Instructions {
	const ip = ethHeader
	program := longEnough(ip + ip4Header + portsBytes)
	program = append(program,
		asm.LoadMem(asm.R1, asm.R7, ip, asm.Byte),
		asm.JNE.Imm(asm.R1, 0x45, "stack"),
		asm.LoadMem(asm.R1, asm.R7, ip+6, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.And.Imm(asm.R1, moreFragments),
		asm.JNE.Imm(asm.R1, 0, "stack"),
		asm.LoadMem(asm.R1, asm.R7, ip+8, asm.Byte),
		asm.JLE.Imm(asm.R1, 1, "stack"),
		asm.StoreImm(asm.RFP, there+fibFamily, unix.AF_INET, asm.Byte),
		asm.StoreImm(asm.RFP, back+fibFamily, unix.AF_INET, asm.Byte),
		asm.LoadMem(asm.R1, asm.R7, ip+1, asm.Byte),
		asm.StoreMem(asm.RFP, there+fibClass, asm.R1, asm.Byte))
	program = append(program, addresses(ip+12, 1)...)
	return append(append(program, transport(ip+9, ip+ip4Header)...), asm.Ja.Label("transport"))
}

// readIPv6: no extension headers, no address of a link, a hop to lose.
func readIPv6() asm.Instructions {
	const ip = ethHeader
	program := longEnough(ip + ip6Header + portsBytes)
	program[0] = program[0].WithSymbol("ip6")
	program = append(program,
		asm.LoadMem(asm.R1, asm.R7, ip, asm.Byte),
		asm.And.Imm(asm.R1, 0xf0),
		asm.JNE.Imm(asm.R1, 0x60, "stack"),
		asm.LoadMem(asm.R1, asm.R7, ip+7, asm.Byte),
		asm.JLE.Imm(asm.R1, 1, "stack"),
		asm.LoadMem(asm.R1, asm.R7, ip+8, asm.Byte),
		asm.JGE.Imm(asm.R1, firstByteOfLink, "stack"),
		asm.LoadMem(asm.R1, asm.R7, ip+24, asm.Byte),
		asm.JGE.Imm(asm.R1, firstByteOfLink, "stack"),
		asm.StoreImm(asm.RFP, there+fibFamily, unix.AF_INET6, asm.Byte),
		asm.StoreImm(asm.RFP, back+fibFamily, unix.AF_INET6, asm.Byte))
	return append(append(program, addresses(ip+8, 4)...), transport(ip+6, ip+ip6Header)...)
}

// addresses copies source and target, of a number of words each, for both ways.
func addresses(at int16, words int16) (program asm.Instructions) {
	for word := range words {
		source, target := at+4*word, at+4*(words+word)
		program = append(program,
			asm.LoadMem(asm.R1, asm.R7, source, asm.Word),
			asm.StoreMem(asm.RFP, there+fibSource+4*word, asm.R1, asm.Word),
			asm.StoreMem(asm.RFP, back+fibTarget+4*word, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, asm.R7, target, asm.Word),
			asm.StoreMem(asm.RFP, there+fibTarget+4*word, asm.R1, asm.Word),
			asm.StoreMem(asm.RFP, back+fibSource+4*word, asm.R1, asm.Word))
	}
	return program
}

// transport copies the protocol and the ports.
func transport(protocol, ports int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, ports, asm.Half),
		asm.StoreMem(asm.RFP, there+fibSport, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.R7, ports+2, asm.Half),
		asm.StoreMem(asm.RFP, there+fibDport, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.R7, protocol, asm.Byte),
		asm.StoreMem(asm.RFP, there+fibProtocol, asm.R1, asm.Byte),
		asm.StoreMem(asm.RFP, back+fibProtocol, asm.R1, asm.Byte),
	}
}

// spareTunnels: TCP, and UDP unless it may be a packet of VXLAN, which the chains judge by its network. The length of what is no train of segments is
// compared with the MTU of the way.
func (m maps) spareTunnels() asm.Instructions {
	program := asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, there+fibProtocol, asm.Byte).WithSymbol("transport"),
		asm.JEq.Imm(asm.R1, unix.IPPROTO_TCP, "length"),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "stack"),
		asm.LoadMem(asm.R1, asm.RFP, there+fibDport, asm.Half),
		asm.StoreMem(asm.RFP, scratch, asm.R1, asm.Word),
	}
	program = append(program, call(m.tunnels, scratch)...)
	return append(program,
		asm.JNE.Imm(asm.R0, 0, "stack"),
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word).WithSymbol("length"),
		asm.JNE.Imm(asm.R1, 0, "look up"),
		asm.LoadMem(asm.R1, asm.R6, skbLength, asm.Word),
		asm.Sub.Imm(asm.R1, ethHeader),
		asm.JGT.Imm(asm.R1, 0xffff, "stack"),
		asm.StoreMem(asm.RFP, there+fibLength, asm.R1, asm.Half))
}

// route asks the host's routes for one of the ways.
func route(way int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, way),
		asm.Mov.Imm(asm.R3, fibSize),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnFibLookup.Call(),
	}
}

// lookUp: the host would route the packet to another member of the same network, and not from one host to another.
func (m maps) lookUp() asm.Instructions {
	program := route(there)
	program[0] = program[0].WithSymbol("look up")
	program = append(program,
		asm.JNE.Imm(asm.R0, 0, "stack"),
		asm.LoadMem(asm.R1, asm.RFP, there+fibIfindex, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, skbIfindex, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R2, "stack"))
	program = append(program, call(m.members, there+fibIfindex)...)
	return append(program,
		asm.JEq.Imm(asm.R0, 0, "stack"),
		asm.LoadMem(asm.R9, asm.R0, 0, asm.DWord),
		asm.JNE.Reg32(asm.R8, asm.R9, "stack"),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.And.Reg(asm.R1, asm.R9),
		asm.RSh.Imm(asm.R1, 32),
		asm.JNE.Imm(asm.R1, 0, "stack"))
}

// wayBack: the source is reached by the link that the packet has come by. For a container that is the source filter.
func wayBack() asm.Instructions {
	program := append(route(back),
		asm.JEq.Imm(asm.R0, noNeighbour, "known"),
		asm.JNE.Imm(asm.R0, 0, "stack"))
	return append(program,
		asm.LoadMem(asm.R1, asm.RFP, back+fibIfindex, asm.Word).WithSymbol("known"),
		asm.LoadMem(asm.R2, asm.R6, skbIfindex, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "stack"))
}

// segmentsFit: those of a train of segments have the MTU of the link that they leave by.
func segmentsFit() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "headers"),
		asm.StoreImm(asm.RFP, scratch, 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMem(asm.R2, asm.RFP, there+fibIfindex, asm.Word),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, scratch),
		asm.Mov.Imm(asm.R4, 0),
		asm.Mov.Imm(asm.R5, checkSegments),
		asm.FnCheckMtu.Call(),
		asm.JNE.Imm(asm.R0, 0, "stack"),
	}
}

// headers writes the MACs of the way, and takes a hop away as a router does (RFC 1812, 5.3.1; the checksum by RFC 1624).
func headers() asm.Instructions {
	const ttl, checksum, hops = ethHeader + 8, ethHeader + 10, ethHeader + 7
	program := asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, there+fibDMAC, asm.Half).WithSymbol("headers")}
	for i, from := range []int16{fibDMAC, fibDMAC + 2, fibDMAC + 4, fibSMAC, fibSMAC + 2, fibSMAC + 4} {
		program = append(program,
			asm.LoadMem(asm.R1, asm.RFP, there+from, asm.Half),
			asm.StoreMem(asm.R7, int16(2*i), asm.R1, asm.Half))
	}
	return append(program,
		asm.LoadMem(asm.R1, asm.RFP, there+fibFamily, asm.Byte),
		asm.JEq.Imm(asm.R1, unix.AF_INET6, "hops"),
		asm.LoadMem(asm.R1, asm.R7, ttl, asm.Byte),
		asm.Sub.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, ttl, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, asm.R7, checksum, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.Add.Imm(asm.R1, 0x100),
		asm.JLT.Imm(asm.R1, 0xffff, "sum"),
		asm.Add.Imm(asm.R1, 1),
		asm.HostTo(asm.BE, asm.R1, asm.Half).WithSymbol("sum"),
		asm.StoreMem(asm.R7, checksum, asm.R1, asm.Half),
		asm.Ja.Label("send"),
		asm.LoadMem(asm.R1, asm.R7, hops, asm.Byte).WithSymbol("hops"),
		asm.Sub.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, hops, asm.R1, asm.Byte))
}

// send counts the packet and hands it over: to the device that wraps it for another host, or to the container's end of a veth.
func (m maps) send() asm.Instructions {
	program := asm.Instructions{asm.StoreImm(asm.RFP, scratch, 0, asm.Word).WithSymbol("send")}
	program = append(program, call(m.carried, scratch)...)
	return append(program,
		asm.JEq.Imm(asm.R0, 0, "stack"), // it has this key
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, there+fibIfindex, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.RSh.Imm(asm.R9, 32),
		asm.JNE.Imm(asm.R9, 0, "device"),
		asm.Mov.Imm(asm.R3, 0),
		asm.StoreMem(asm.R6, skbMark, asm.R3, asm.Word), // as between any two namespaces
		asm.FnRedirectPeer.Call(),
		asm.Return(),
		asm.FnRedirect.Call().WithSymbol("device"),
		asm.Return())
}
