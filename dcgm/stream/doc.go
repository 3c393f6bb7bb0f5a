// Package stream is how a node agent tells every replica of the adapter what it reads of pods: a gRPC stream of what changed, made by an
// Encoder for each subscriber and read by a Decoder.
//
// # Deltas
//
// A Series is one number of one pod on one device. It is described once, under a small id, and later messages name ids. A number is sent
// when it has moved by more than Tolerance since it was last sent, so what a reader holds is never further than that from the truth, and a
// step to or from 0 is always sent: idle is a fact of its own. A series whose number ended, whatever the reason, is closed;
// there is no number that stands for "unknown".
//
// A message is sent for every measurement, though it may be empty: it says that whatever it does not name was measured
// again. So silence is never taken for "unchanged": when messages end, ages grow.
//
// # Time
//
// Age is what a reader decides by, and clocks of two machines differ. So a message carries when its readings were measured and when it was
// sent on the agent's own clock that starts with the agent and never steps. The reader knows from the quickest message lately how far
// that clock is from its own, and so how long any later message was under way.
//
// # A reader that is slow
//
// An encoder is given what there is when the reader can take it, not what there was in between, so nothing queues up. A reader that comes
// back has a new stream, which begins with everything.
//
// The code in readings.pb.go and readings_grpc.pb.go is made by test/generate/stream from readings.proto.
package stream
