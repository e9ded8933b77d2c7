// Package guard keeps a program that fetches addresses given by strangers away
// from the network it runs in: loopback, private, link-local and other special
// addresses, the metadata services of clouds among them.
//
// The check belongs at dial time, on the address that is really connected to: a
// check of the name before leaves time for the name to change its address.
package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrRefused is in the chain of every error that Check and Control return for
// an address that is not public.
var ErrRefused = errors.New("address refused")

type block struct {
	prefix netip.Prefix
	why    string
}

// blocks4 and blocks6 are the special ranges that netip has no word for.
// Building them at each dial costs little beside the dial.
func blocks4() []block {
	return []block{
		{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
		{netip.MustParsePrefix("100.64.0.0/10"), "shared by a carrier"},
		{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's own service"},
		{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
		{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
		{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
		{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
		{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
		{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
		{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	}
}

func blocks6() []block {
	return []block{
		{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo, ORCHID and others
		{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
		{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	}
}

// Check returns an error that wraps ErrRefused and says why, unless a is an
// ordinary public unicast address. IPv4 addresses inside IPv6 ones (mapped,
// 6to4, NAT64) are judged as what they carry.
func Check(a netip.Addr) error {
	if why := reason(a.WithZone("").Unmap()); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrRefused, a, why)
	}
	return nil
}

// Control is for net.Dialer.Control: it refuses to connect to what Check
// refuses.
func Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrRefused, address)
	}
	return Check(ap.Addr())
}

func reason(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "invalid"
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case a.IsPrivate():
		return "private"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	}
	if a.Is4() {
		return within(a, blocks4())
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64
		return reason(netip.AddrFrom4([4]byte(b[12:16])))
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4
		return reason(netip.AddrFrom4([4]byte(b[2:6])))
	case !netip.MustParsePrefix("2000::/3").Contains(a): // the only range given out
		return "reserved"
	}
	return within(a, blocks6())
}

func within(a netip.Addr, blocks []block) string {
	for _, b := range blocks {
		if b.prefix.Contains(a) {
			return b.why
		}
	}
	return ""
}
