package wgtun

import "golang.zx2c4.com/wireguard/tun"

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
