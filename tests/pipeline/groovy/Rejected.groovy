/** A gate that was not opened. */
class Rejected extends Exception {
  Rejected(String message) { super(message) }
}
