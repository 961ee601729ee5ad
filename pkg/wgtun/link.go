package wgtun

import (
	"encoding/binary"

	"golang.zx2c4.com/wireguard/tun"
)

// steady is a TUN device of which WireGuard hears when its MTU changes, and not that the link is up or down. It would open its socket for
// that in the namespace of some other thread, at a port that nobody has asked for, and end all sessions for what is no news any more:
// Configure says when a device is up.
type steady struct {
	tun.Device
	events chan tun.Event
}

func newSteady(link tun.Device) steady {
	s := steady{link, make(chan tun.Event)}
	go func() {
		defer close(s.events)
		for event := range link.Events() {
			if event&tun.EventMTUUpdate != 0 {
				s.events <- tun.EventMTUUpdate
			}
		}
	}()
	return s
}

// Events ends with the device.
func (s steady) Events() <-chan tun.Event { return s.events }

// Read takes what the host sends into the device. Where the kernel leaves checksums to wireguard-go, that writes 0 for a sum of 0, which in UDP
// stands for none, and is not allowed over IPv6 (RFC 8200, 8.1): one of 65 536 packets would be dropped by who receives it.
func (s steady) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	n, err = s.Device.Read(bufs, sizes, offset)
	for i := range n {
		mendChecksum(bufs[i][offset : offset+sizes[i]])
	}
	return n, err
}

// Places in a packet of UDP over IPv6.
const (
	nextHeader, addresses, udpHeader, udpChecksum = 6, 8, 40, 46
	udp                                           = 17
)

// mendChecksum writes a sum of 0 as 0xffff, which is the same. A packet that its sender wanted to have none stays as it is.
func mendChecksum(packet []byte) {
	if len(packet) < udpHeader+8 || packet[0]>>4 != 6 || packet[nextHeader] != udp || packet[udpChecksum]|packet[udpChecksum+1] != 0 {
		return
	}
	if onesSum(packet[addresses:], uint32(len(packet)-udpHeader)+udp) == 0xffff {
		packet[udpChecksum], packet[udpChecksum+1] = 0xff, 0xff
	}
}

// onesSum is the sum of 16-bit words in ones' complement (RFC 1071).
func onesSum(data []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	if len(data)%2 > 0 {
		sum += uint32(data[len(data)-1]) << 8
	}
	sum = sum>>16 + sum&0xffff
	return uint16(sum + sum>>16)
}
