package wgtun

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// The text by which WireGuard in a process is configured (https://www.wireguard.com/xplatform/): keys in hexadecimal, a peer's lines
// behind its public key.

// format writes a configuration.
func format(c wgtypes.Config) string {
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%s=%v\n", key, value) }
	if c.PrivateKey != nil {
		line("private_key", hexOf(*c.PrivateKey))
	}
	if c.ListenPort != nil {
		line("listen_port", *c.ListenPort)
	}
	if c.FirewallMark != nil {
		line("fwmark", *c.FirewallMark)
	}
	if c.ReplacePeers {
		line("replace_peers", true)
	}
	for _, p := range c.Peers {
		line("public_key", hexOf(p.PublicKey))
		if p.Remove {
			line("remove", true)
			continue
		}
		if p.UpdateOnly {
			line("update_only", true)
		}
		if p.PresharedKey != nil {
			line("preshared_key", hexOf(*p.PresharedKey))
		}
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			line("endpoint", netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		}
		if p.PersistentKeepaliveInterval != nil {
			line("persistent_keepalive_interval", int(p.PersistentKeepaliveInterval.Seconds()))
		}
		if p.ReplaceAllowedIPs {
			line("replace_allowed_ips", true)
		}
		for _, ip := range p.AllowedIPs {
			line("allowed_ip", ip.String())
		}
	}
	return b.String()
}

func hexOf(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }

// parse reads a device.
func parse(name, text string) (*wgtypes.Device, error) {
	d := &wgtypes.Device{Name: name, Type: wgtypes.Userspace}
	var seconds int64 // of the last handshake; the nanoseconds follow
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		var p *wgtypes.Peer
		if n := len(d.Peers); n > 0 {
			p = &d.Peers[n-1]
		}
		var err error
		switch key {
		case "private_key":
			d.PrivateKey, err = keyOf(value)
			d.PublicKey = d.PrivateKey.PublicKey()
		case "listen_port":
			d.ListenPort, err = strconv.Atoi(value)
		case "fwmark":
			d.FirewallMark, err = strconv.Atoi(value)
		case "public_key":
			var public wgtypes.Key
			public, err = keyOf(value)
			d.Peers = append(d.Peers, wgtypes.Peer{PublicKey: public})
		case "preshared_key":
			p.PresharedKey, err = keyOf(value)
		case "endpoint":
			var at netip.AddrPort
			at, err = netip.ParseAddrPort(value)
			p.Endpoint = net.UDPAddrFromAddrPort(at)
		case "last_handshake_time_sec":
			seconds, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			var nanoseconds int64
			if nanoseconds, err = strconv.ParseInt(value, 10, 64); seconds+nanoseconds != 0 {
				p.LastHandshakeTime = time.Unix(seconds, nanoseconds)
			}
		case "tx_bytes":
			p.TransmitBytes, err = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			p.ReceiveBytes, err = strconv.ParseInt(value, 10, 64)
		case "persistent_keepalive_interval":
			var interval int
			interval, err = strconv.Atoi(value)
			p.PersistentKeepaliveInterval = time.Duration(interval) * time.Second
		case "allowed_ip":
			var ip *net.IPNet
			if _, ip, err = net.ParseCIDR(value); err == nil {
				p.AllowedIPs = append(p.AllowedIPs, *ip)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("configuration of %s: %s: %w", name, key, err)
		}
	}
	return d, nil
}

func keyOf(text string) (k wgtypes.Key, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(k) {
		return k, fmt.Errorf("no key: %w", err)
	}
	return wgtypes.Key(data), nil
}
