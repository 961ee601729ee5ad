package firewalld

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/fairway-cni/fairway/pkg/state"
)

const (
	firewalldName  = "org.fedoraproject.FirewallD1"
	firewalldPath  = "/org/fedoraproject/FirewallD1"
	firewalldZones = "org.fedoraproject.FirewallD1.zone"
	zoneAlreadySet = "ZONE_ALREADY_SET"
)

// zones is firewalld's, by the system's bus. Nil: firewalld does not run.
type zones struct{ bus *dbus.Conn }

// openZones finds firewalld; nil says that it does not run, or that there is no bus to ask by.
func openZones() (*zones, error) {
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		return nil, nil
	}
	var running bool
	err = bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, firewalldName).Store(&running)
	if err != nil || !running {
		return nil, bus.Close()
	}
	return &zones{bus}, nil
}

func (z *zones) close() {
	if z != nil {
		_ = z.bus.Close() // every call has been answered
	}
}

func (z *zones) call(method, zone, source string) *dbus.Call {
	return z.bus.Object(firewalldName, firewalldPath).Call(firewalldZones+"."+method, 0, zone, source)
}

// add puts addresses into a zone, unless they are in one.
func (z *zones) add(zone string, addrs []netip.Addr) error {
	if z == nil {
		return nil
	}
	for _, addr := range addrs {
		source := state.HostPrefix(addr).String()
		if err := z.call("addSource", zone, source).Err; err != nil && !strings.Contains(err.Error(), zoneAlreadySet) {
			return fmt.Errorf("firewall-cmd --zone=%s --add-source=%s: %w", zone, source, err)
		}
	}
	return nil
}

// verify looks for addresses in a zone.
func (z *zones) verify(zone string, addrs []netip.Addr) error {
	if z == nil {
		return nil
	}
	var errs []error
	for _, addr := range addrs {
		var has bool
		source := state.HostPrefix(addr).String()
		err := z.call("querySource", zone, source).Store(&has)
		if err == nil && !has {
			err = state.Driftf("zone %s of firewalld has not source %s", zone, source)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove takes addresses out of a zone. One that is in another zone, or in none, stays so.
func (z *zones) remove(zone string, addrs []netip.Addr) {
	if z == nil {
		return
	}
	for _, addr := range addrs {
		_ = z.call("removeSource", zone, state.HostPrefix(addr).String()).Err // not there
	}
}
