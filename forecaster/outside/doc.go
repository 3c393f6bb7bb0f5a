// Package outside asks a forecasting service over HTTP, so that its answer can be offered to an engine as one more expert.
//
// A question is one POST of JSON, an answer is JSON (Question and Answer). Whatever goes wrong - no answer in time, a status
// other than 200, a body that is too long or not as described, a forecast for another moment - is an error of Ask and leaves the
// engine as if nobody had been asked. What does arrive has to earn its weight in the engine like every other expert.
package outside
