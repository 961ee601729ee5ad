package resolver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// ttl in seconds of our own answers: a container that is started again has another address.
const ttl = 2

// local answers what the records know. A name that they know is never asked for outside, whatever the type of the record:
// some libcs take NXDOMAIN for one type as the end of the name.
type local struct {
	index *names.Index
	// catchUp enters records that are there and were not entered yet. Nil: there are none.
	catchUp func()
	next    Handler
}

func (l local) Answer(ctx context.Context, q Query) *dns.Msg {
	question := q.Question()
	if question.Qclass != dns.ClassINET && question.Qclass != dns.ClassANY {
		return l.next.Answer(ctx, q)
	}
	if addr, ok := reverseAddr(question.Name); ok {
		found := l.index.Reverse(q.Space, addr)
		if len(found) == 0 {
			l.await()
			found = l.index.Reverse(q.Space, addr)
		}
		if len(found) > 0 {
			return pointers(q.Msg, found)
		}
		return l.next.Answer(ctx, q)
	}
	name, ok := plain(question.Name)
	if !ok {
		return l.next.Answer(ctx, q)
	}
	addrs, known := l.index.Lookup(q.Space, name)
	if !known {
		l.await()
		addrs, known = l.index.Lookup(q.Space, name)
	}
	if !known {
		return l.next.Answer(ctx, q)
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addresses(q.Msg, addrs)
}

// await looks for records before a name is called unknown. A plugin returns when its record is there, and what it tells of that waits for
// its turn here.
func (l local) await() {
	if l.catchUp != nil {
		l.catchUp()
	}
}

// addresses is the reply with those of the family that is asked for.
func addresses(q *dns.Msg, addrs []netip.Addr) *dns.Msg {
	r := reply(q, dns.RcodeSuccess)
	r.Authoritative = true
	question := q.Question[0]
	header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET, Ttl: ttl}
	for _, addr := range addrs {
		header.Rrtype = dns.TypeAAAA
		if addr.Is4() {
			header.Rrtype = dns.TypeA
		}
		if question.Qtype != header.Rrtype && question.Qtype != dns.TypeANY {
			continue
		}
		if addr.Is4() {
			r.Answer = append(r.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
		} else {
			r.Answer = append(r.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return r
}

// pointers is the reply about an address.
func pointers(q *dns.Msg, found []string) *dns.Msg {
	r := reply(q, dns.RcodeSuccess)
	r.Authoritative = true
	question := q.Question[0]
	if question.Qtype != dns.TypePTR && question.Qtype != dns.TypeANY {
		return r
	}
	for _, name := range found {
		target := escape(name) + "."
		if _, ok := dns.IsDomainName(target); !ok {
			continue // a name and its network's may be too long together
		}
		header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
		r.Answer = append(r.Answer, &dns.PTR{Hdr: header, Ptr: target})
	}
	return r
}

// plain is a name without the escapes of the presentation form (RFC 1035, section 5.1) and without its last dot. A dot within a
// label is in none of ours.
func plain(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if !strings.ContainsRune(name, '\\') {
		return name, true
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		switch {
		case i+3 < len(name) && isDigits(name[i+1:i+4]):
			c = (name[i+1]-'0')*100 + (name[i+2]-'0')*10 + name[i+3] - '0'
			i += 3
		case i+1 < len(name):
			c = name[i+1]
			i++
		}
		if c == '.' {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func isDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// escape is the presentation form of a name, in which dots are between labels.
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c <= ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03d`, c)
		case strings.IndexByte(`"();@$\`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// reverseAddr is the address that a name of in-addr.arpa or ip6.arpa asks about.
func reverseAddr(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if head, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(head, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(strings.Join([]string{parts[3], parts[2], parts[1], parts[0]}, "."))
		return addr, err == nil && addr.Is4()
	}
	head, ok := strings.CutSuffix(name, ".ip6.arpa")
	const nibbles = 32
	if !ok || len(head) != 2*nibbles-1 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := len(head) - 1; i >= 0; i -= 2 {
		if i != len(head)-1 && head[i+1] != '.' {
			return netip.Addr{}, false
		}
		text.WriteByte(head[i])
		if done := (len(head)-1-i)/2 + 1; done%4 == 0 && done < nibbles {
			text.WriteByte(':')
		}
	}
	addr, err := netip.ParseAddr(text.String())
	return addr, err == nil && addr.Is6()
}
