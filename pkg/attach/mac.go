package attach

import (
	"bytes"
	"net"
)

// Asked is a value that a call may ask for in several places.
type Asked struct {
	// Key names the place, as an error does.
	Key string
	// Value is empty where nothing is asked for.
	Value string
}

// AskedMAC is the address that a call asks for, or nil. Of several places, the last counts.
func AskedMAC(places ...Asked) (mac net.HardwareAddr, err error) {
	for _, p := range places {
		if p.Value == "" {
			continue
		}
		if mac, err = net.ParseMAC(p.Value); err != nil || !isUnicast(mac) {
			return nil, Invalidf("%s is %q: give a unicast Ethernet address such as 02:00:00:00:00:01", p.Key, p.Value)
		}
	}
	return mac, nil
}

// isUnicast says whether an address can be a link's: one of Ethernet, not a group's, not zero.
func isUnicast(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !bytes.Equal(mac, make([]byte, 6))
}
