package ask

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Answer is what a load needs to know of a metric value list.
type Answer struct {
	Items int
	// Value is the first item's quantity as it stood on the wire; empty without items.
	Value string
	// Timestamp is the first item's; zero where it has none.
	Timestamp time.Time
}

var errTruncated = errors.New("protobuf message ends early")

// Read decodes an answer body in the content type that the server chose. The protobuf reader knows the few fields that it
// needs (in all three list types items are field 2, and of an item the timestamp is field 3 and the value field 5): full
// decoding would take the load generator's share of a small machine's CPU, which the server under test then lacks.
func Read(contentType string, body []byte) (Answer, error) {
	if strings.HasPrefix(contentType, "application/vnd.kubernetes.protobuf") {
		return readProtobuf(body)
	}
	var list struct {
		Items []struct {
			Timestamp time.Time `json:"timestamp"`
			Value     string    `json:"value"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return Answer{}, fmt.Errorf("read JSON answer: %w", err)
	}
	answer := Answer{Items: len(list.Items)}
	if len(list.Items) > 0 {
		answer.Value, answer.Timestamp = list.Items[0].Value, list.Items[0].Timestamp
	}
	return answer, nil
}

// Kubernetes prefixes its protobuf with these bytes, then a runtime.Unknown message whose field 2 is the object itself.
var protobufMagic = []byte("k8s\x00")

func readProtobuf(body []byte) (Answer, error) {
	unknown, ok := bytes.CutPrefix(body, protobufMagic)
	if !ok {
		return Answer{}, errors.New("protobuf answer without the Kubernetes prefix")
	}
	var list []byte
	if err := eachField(unknown, func(field uint64, value []byte) {
		if field == 2 {
			list = value
		}
	}); err != nil {
		return Answer{}, err
	}
	var answer Answer
	var first []byte
	if err := eachField(list, func(field uint64, value []byte) {
		if field == 2 {
			if answer.Items == 0 {
				first = value
			}
			answer.Items++
		}
	}); err != nil {
		return Answer{}, err
	}
	if answer.Items == 0 {
		return answer, nil
	}
	var timestamp, quantity []byte
	if err := eachField(first, func(field uint64, value []byte) {
		switch field {
		case 3:
			timestamp = value
		case 5:
			quantity = value
		}
	}); err != nil {
		return Answer{}, err
	}
	err := eachField(quantity, func(field uint64, value []byte) {
		if field == 1 {
			answer.Value = string(value)
		}
	})
	if seconds, ok := varintField(timestamp, 1); ok && seconds > 0 {
		answer.Timestamp = time.Unix(int64(seconds), 0)
	}
	return answer, err
}

// eachField calls visit for every length-delimited field of a protobuf message and skips the others
// (encoding: protobuf.dev/programming-guides/encoding).
func eachField(message []byte, visit func(field uint64, value []byte)) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errTruncated
		}
		message = message[n:]
		size := uint64(0)
		switch tag & 7 {
		case 0: // varint
			if _, n = binary.Uvarint(message); n <= 0 {
				return errTruncated
			}
			size = uint64(n)
		case 1: // 64 bits
			size = 8
		case 5: // 32 bits
			size = 4
		case 2: // length-delimited
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return errTruncated
			}
			visit(tag>>3, message[n:n+int(length)])
			size = uint64(n) + length
		default:
			return fmt.Errorf("protobuf wire type %d is not in use", tag&7)
		}
		if size > uint64(len(message)) {
			return errTruncated
		}
		message = message[size:]
	}
	return nil
}

// varintField finds a varint field of a message whose fields are all varints, such as a Time's seconds and nanos.
func varintField(message []byte, field uint64) (uint64, bool) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag&7 != 0 {
			return 0, false
		}
		value, m := binary.Uvarint(message[n:])
		if m <= 0 {
			return 0, false
		}
		if tag>>3 == field {
			return value, true
		}
		message = message[n+m:]
	}
	return 0, false
}
