package codec

import (
	"encoding/binary"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// orientation finds the orientation in EXIF data, which is a TIFF file without
// pixels. Anything that is not as it should be counts as upright.
func orientation(tiff []byte) raster.Orientation {
	const (
		tag       = 0x0112
		typeShort = 3
		entry     = 12
	)
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
	default:
		return 1
	}
	at := int64(order.Uint32(tiff[4:]))
	if at < 8 || at+2 > int64(len(tiff)) {
		return 1
	}
	n := int(order.Uint16(tiff[at:]))
	for dir := tiff[at+2:]; n > 0 && len(dir) >= entry; n-- {
		if order.Uint16(dir) == tag {
			o := order.Uint16(dir[8:])
			if order.Uint16(dir[2:]) != typeShort || order.Uint32(dir[4:]) != 1 || o < 1 || o > 8 {
				return 1
			}
			return raster.Orientation(o)
		}
		dir = dir[entry:]
	}
	return 1
}
