/** A step that has failed, in Jenkins' words. */
class StepFailed extends Exception {
  StepFailed(String message) { super(message) }
}
