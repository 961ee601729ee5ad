package packetfilter

import (
	"bytes"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// stepOf is what an expression of nftables does. What is not known here leaves the rule open.
func stepOf(name string, e expr.Any) step {
	switch e := e.(type) {
	case *expr.Meta:
		return func(r *run) truth { return r.meta(e) }
	case *expr.Payload:
		return func(r *run) truth { return r.payload(e) }
	case *expr.Ct:
		return func(r *run) truth { return r.connection(e) }
	case *expr.Fib:
		return func(r *run) truth { return r.fib(e) }
	case *expr.Immediate:
		return func(r *run) truth { r.registers.load(e.Register, known(e.Data)); return yes }
	case *expr.Bitwise:
		return func(r *run) truth { return r.bitwise(e) }
	case *expr.Byteorder:
		return func(r *run) truth { return r.byteorder(e) }
	case *expr.Cmp:
		return func(r *run) truth { return r.compare(e) }
	case *expr.Range:
		return func(r *run) truth { return r.within(e) }
	case *expr.Lookup:
		return func(r *run) truth { return r.lookUp(e) }
	case *expr.Verdict:
		return func(r *run) truth { r.verdict = verdictOf(e); return yes }
	case *expr.Match:
		return func(r *run) truth { return r.match(e) }
	case *expr.Target:
		return func(r *run) truth { return r.target(e) }
	}
	return stepNamed(name)
}

// stepNamed is an expression by its name alone: one without a condition, with an end, or an unknown one.
func stepNamed(name string) step {
	switch name {
	case "counter", "log", "notrack", "flow_offload", "objref", "secmark", "dup", "ct_timeout", "last":
		return func(*run) truth { return yes }
	case "reject":
		return func(r *run) truth { r.verdict = verdict{kind: drops}; return yes }
	case "masq", "nat", "redir", "tproxy":
		return func(r *run) truth { r.verdict = verdict{kind: accepts}; return yes }
	case "queue":
		return func(r *run) truth { r.verdict = verdict{kind: asks}; return r.doubtful("queue") }
	}
	return func(r *run) truth {
		r.registers = registers{} // whatever it has loaded
		return r.doubtful(name)
	}
}

func verdictOf(v *expr.Verdict) verdict {
	switch v.Kind {
	case expr.VerdictAccept:
		return verdict{kind: accepts}
	case expr.VerdictDrop:
		return verdict{kind: drops}
	case expr.VerdictJump:
		return verdict{kind: jumps, chain: v.Chain}
	case expr.VerdictGoto:
		return verdict{kind: branches, chain: v.Chain}
	case expr.VerdictReturn:
		return verdict{kind: returns}
	case expr.VerdictQueue:
		return verdict{kind: asks}
	}
	return verdict{}
}

// meta loads what the packet is known by, or sets its mark.
func (r *run) meta(e *expr.Meta) truth {
	if e.SourceRegister {
		if e.Key == expr.MetaKeyMARK {
			r.mark = r.registers.read(e.Register, 4)
		}
		return yes
	}
	r.registers.load(e.Register, r.metaOf(e.Key))
	return yes
}

// Keys that the library does not name (linux/netfilter/nf_tables.h).
const (
	metaInKind  expr.MetaKey = 26
	metaOutKind expr.MetaKey = 27
)

func (r *run) metaOf(key expr.MetaKey) []cell {
	switch key {
	case expr.MetaKeyIIFNAME:
		return tagged(nameOf(r.In.Name))
	case expr.MetaKeyOIFNAME:
		return known(nameOf(r.Out.Name))
	case expr.MetaKeyBRIIIFNAME:
		return tagged(nameOf(r.Bridge))
	case expr.MetaKeyBRIOIFNAME:
		return known(nameOf(r.Bridge))
	case expr.MetaKeyIIF:
		return tagged(native(uint32(r.In.Index)))
	case expr.MetaKeyOIF:
		return known(native(uint32(r.Out.Index)))
	case expr.MetaKeyIIFGROUP:
		return tagged(native(r.In.Group))
	case expr.MetaKeyOIFGROUP:
		return known(native(r.Out.Group))
	case expr.MetaKeyIIFTYPE:
		return known(arpType(r.In))
	case expr.MetaKeyOIFTYPE:
		return known(arpType(r.Out))
	case metaInKind:
		return tagged(nameOf(r.In.Kind))
	case metaOutKind:
		return known(nameOf(r.Out.Kind))
	case expr.MetaKeyMARK:
		return r.mark
	case expr.MetaKeyNFPROTO:
		return known([]byte{r.protocolFamily()})
	case expr.MetaKeyL4PROTO:
		return known([]byte{unix.IPPROTO_TCP})
	case expr.MetaKeyPROTOCOL:
		return known(r.etherType())
	case expr.MetaKeyPKTTYPE:
		return known([]byte{unix.PACKET_HOST})
	}
	return unknown(16)
}

func (r *run) protocolFamily() byte {
	switch {
	case r.Bridge != "":
		return unix.NFPROTO_BRIDGE
	case r.Source.Is4():
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

// payload loads a part of the packet.
func (r *run) payload(e *expr.Payload) truth {
	if e.OperationType == expr.PayloadWrite {
		return yes
	}
	var header []cell
	switch e.Base {
	case expr.PayloadBaseLLHeader: // the addresses, and then the protocol
		header = append(unknown(12), known(r.etherType())...)
	case expr.PayloadBaseNetworkHeader:
		header = r.networkHeader()
	case expr.PayloadBaseTransportHeader:
		header = r.transportHeader()
	}
	from, to := int(e.Offset), int(e.Offset+e.Len)
	if to > len(header) {
		header = append(header, unknown(to-len(header))...)
	}
	r.registers.load(e.DestRegister, header[from:to])
	return yes
}

// connection loads what the kernel knows of the packet's connection.
func (r *run) connection(e *expr.Ct) truth {
	if e.SourceRegister {
		return yes // a mark is set
	}
	switch e.Key {
	case expr.CtKeySTATE:
		r.registers.load(e.Register, known(native(r.state())))
	case expr.CtKeySTATUS:
		r.registers.load(e.Register, known(native(r.status())))
	case expr.CtKeyDIRECTION:
		direction := byte(0)
		if r.Answer {
			direction = 1
		}
		r.registers.load(e.Register, known([]byte{direction}))
	default:
		r.registers.load(e.Register, unknown(16))
	}
	return yes
}

// fib loads what routes say. That there is a way back by the link that the packet has come by is somebody else's to find out.
func (r *run) fib(e *expr.Fib) truth {
	switch {
	case e.ResultADDRTYPE:
		kind := uint32(unix.RTN_UNICAST)
		if e.FlagDADDR && r.ToHost {
			kind = unix.RTN_LOCAL
		}
		r.registers.load(e.Register, known(native(kind)))
	case e.FlagPRESENT:
		r.registers.load(e.Register, known([]byte{1}))
	case e.FlagSADDR && e.ResultOIF:
		r.registers.load(e.Register, known(native(uint32(r.In.Index))))
	case e.FlagSADDR:
		r.registers.load(e.Register, known(nameOf(r.In.Name)))
	case e.ResultOIF:
		r.registers.load(e.Register, known(native(uint32(r.Out.Index))))
	default:
		r.registers.load(e.Register, known(nameOf(r.Out.Name)))
	}
	return yes
}

func (r *run) bitwise(e *expr.Bitwise) truth {
	cells := r.registers.read(e.SourceRegister, int(e.Len))
	for i := range cells {
		switch {
		case len(e.Mask) != len(cells) || len(e.Xor) != len(cells): // a shift, or of two registers
			cells[i].known = false
		case e.Mask[i] == 0:
			cells[i] = cell{value: e.Xor[i], known: true, source: cells[i].source}
		default:
			cells[i].value = cells[i].value&e.Mask[i] ^ e.Xor[i]
		}
	}
	r.registers.load(e.DestRegister, cells)
	return yes
}

// byteorder turns numbers around, which it does on hosts of the other order alone.
func (r *run) byteorder(e *expr.Byteorder) truth {
	cells := r.registers.read(e.SourceRegister, int(e.Len))
	if bytes.Equal(binaryutil.NativeEndian.PutUint16(1), []byte{1, 0}) && e.Size > 0 {
		for part := range slices.Chunk(cells, int(e.Size)) {
			slices.Reverse(part)
		}
	}
	r.registers.load(e.DestRegister, cells)
	return yes
}

func (r *run) compare(e *expr.Cmp) truth {
	cells := r.registers.read(e.Register, len(e.Data))
	data, ok, source := bytesOf(cells)
	if !ok {
		// One byte that differs decides.
		for i, c := range cells {
			if c.known && c.value != e.Data[i] && (e.Op == expr.CmpOpEq || e.Op == expr.CmpOpNeq) {
				return truthOf(e.Op == expr.CmpOpNeq)
			}
		}
		return r.doubtful("a value that only the packet has")
	}
	order := bytes.Compare(data, e.Data)
	holds := false
	switch e.Op {
	case expr.CmpOpEq:
		holds = order == 0
		r.narrowed = r.narrowed || holds && source
	case expr.CmpOpNeq:
		holds = order != 0
	case expr.CmpOpLt:
		holds = order < 0
	case expr.CmpOpLte:
		holds = order <= 0
	case expr.CmpOpGt:
		holds = order > 0
	case expr.CmpOpGte:
		holds = order >= 0
	}
	return truthOf(holds)
}

func (r *run) within(e *expr.Range) truth {
	data, ok, source := bytesOf(r.registers.read(e.Register, len(e.FromData)))
	if !ok {
		return r.doubtful("a value that only the packet has")
	}
	inside := bytes.Compare(e.FromData, data) <= 0 && bytes.Compare(data, e.ToData) <= 0
	r.narrowed = r.narrowed || inside && source && e.Op == expr.CmpOpEq
	return truthOf(inside == (e.Op == expr.CmpOpEq))
}

// lookUp looks a register up in a set, or a map of values or verdicts.
func (r *run) lookUp(e *expr.Lookup) truth {
	s := r.table.sets[e.SetName]
	if s == nil || s.opaque {
		return r.doubtful("set " + e.SetName)
	}
	data, ok, source := bytesOf(r.registers.read(e.SourceRegister, s.keyLength))
	if !ok {
		if e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT {
			r.verdict = verdict{kind: asks} // whatever any of the elements says
		}
		return r.doubtful("set " + e.SetName)
	}
	found, in := s.find(data)
	if e.Invert {
		return truthOf(!in)
	}
	if !in {
		return no
	}
	r.narrowed = r.narrowed || source
	switch {
	case !e.IsDestRegSet:
	case e.DestRegister == unix.NFT_REG_VERDICT:
		r.verdict = verdictOf(verdictIn(found.value))
	default:
		r.registers.load(e.DestRegister, known(found.value))
	}
	return yes
}
