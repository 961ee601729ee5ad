package testnet

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SendWhole sends an ICMP echo request of a size in bytes that may not be fragmented (RFC 791, DF), and says whether it
// was answered. The error is what the sender was told: "message too long" with the mtu of the path.
func SendWhole(from *Namespace, to string, size int) (answered bool, err error) {
	err = from.Do(func() error {
		conn, err := net.Dial("ip4:icmp", to)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // all has been read
		const patience = 20 * time.Second
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		raw, err := conn.(*net.IPConn).SyscallConn()
		if err != nil {
			return err
		}
		if err := control(raw, func(fd int) error {
			return errors.Join(
				unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE),
				unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1))
		}); err != nil {
			return err
		}
		if _, err := conn.Write(echoRequest(size - 20)); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		reply := make([]byte, 1<<16)
		_, err = conn.Read(reply)
		if errors.Is(err, syscall.EMSGSIZE) {
			return fmt.Errorf("%w, mtu %d", err, pathMTU(raw))
		}
		answered = err == nil
		return err
	})
	return answered, err
}

func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) { err = f(int(fd)) }), err)
}

// pathMTU is the MTU in the ICMP error that a socket has received (ip(7), IP_RECVERR).
func pathMTU(raw syscall.RawConn) (mtu int) {
	_ = control(raw, func(fd int) (err error) { // 0 stands for none
		mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
		return err
	})
	return mtu
}

// echoRequest is an ICMP echo request of a size in bytes (RFC 792).
func echoRequest(size int) []byte {
	packet := make([]byte, size)
	packet[0] = 8
	sum := uint32(0)
	for i := 0; i+1 < size; i += 2 {
		sum += uint32(packet[i])<<8 | uint32(packet[i+1])
	}
	if size%2 == 1 {
		sum += uint32(packet[size-1]) << 8
	}
	for sum>>16 > 0 {
		sum = sum>>16 + sum&0xffff
	}
	packet[2], packet[3] = byte(^sum>>8), byte(^sum)
	return packet
}
